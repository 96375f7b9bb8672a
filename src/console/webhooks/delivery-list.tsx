import { useMutation } from "@connectrpc/connect-query";
import { Button, Group, SegmentedControl, Stack, Text } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import {
  type Webhook,
  type WebhookDelivery,
  WebhookDeliveryState,
} from "../../../gen/ota/v1/alert_webhook_pb.js";
import { WebhookService } from "../../../gen/ota/v1/alert_webhook_service_pb.js";
import { deliveryFilters, type WebhookSearch } from "../addresses/webhook-search.ts";
import { usePages } from "../data/use-pages.ts";
import { CopyText } from "../ui/copy-text.tsx";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { Failure } from "../ui/failure.tsx";
import { counted } from "../ui/format.ts";
import { Nothing } from "../ui/nothing.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { useReloadWebhooks } from "./use-reload-webhooks.ts";
import { deliveryStates } from "./webhook-words.ts";

const route = getRouteApi("/alerts/webhooks/$webhookId");

/** What became of the events that a webhook is for, the newest first; what was given up can be tried again. */
export function DeliveryList({ webhook: { id, deadCount } }: { readonly webhook: Webhook }) {
  const { show } = route.useSearch();
  const navigate = route.useNavigate();
  const reload = useReloadWebhooks();
  const replay = useMutation(WebhookService.method.replayDeadLetters);
  const pages = usePages(
    WebhookService.method.listWebhookDeliveries,
    { id, state: states[show ?? "all"] },
    { rowsOf: ({ deliveries }) => deliveries, everyMs: refreshMs },
  );
  const tryAgain = async (eventId: string) => {
    await replay.mutateAsync({ id, eventId }).catch(() => undefined);
    await reload();
  };
  const again: Column<WebhookDelivery> = {
    id: "again",
    header: <span aria-hidden />,
    cell: ({ state, eventId, eventType }) =>
      state === WebhookDeliveryState.DEAD && (
        <Button
          size="compact-xs"
          variant="default"
          aria-label={`Try again: ${eventType}`}
          onClick={() => void tryAgain(eventId)}
        >
          Try again
        </Button>
      ),
    numeric: true,
  };
  return (
    <Section
      title="Deliveries"
      description="Of the newest event first; they go with their events."
      flush
      actions={
        <Group gap="xs">
          {deadCount > 0n && (
            <Button size="xs" variant="default" loading={replay.isPending} onClick={() => void tryAgain("")}>
              Try {counted(deadCount, "dead letter")} again
            </Button>
          )}
          <SegmentedControl
            aria-label="Which deliveries"
            size="xs"
            value={show ?? "all"}
            data={["all", ...deliveryFilters].map((value) => ({
              value,
              label: labels[value as keyof typeof labels],
            }))}
            onChange={(value) =>
              void navigate({
                search: value === "all" ? {} : { show: value as NonNullable<WebhookSearch["show"]> },
                replace: true,
              })
            }
          />
        </Group>
      }
    >
      <Stack gap={0}>
        {replay.error !== null && <Failure error={replay.error} doing="try them again" />}
        <DataTable
          name="deliveries"
          columns={[...columns, again]}
          pages={pages}
          keyOf={({ eventId }) => eventId}
          empty={<Nothing title={nothing[show ?? "all"]}>Send a test to see one.</Nothing>}
        />
      </Stack>
    </Section>
  );
}

const refreshMs = 3_000;

const states = {
  all: WebhookDeliveryState.UNSPECIFIED,
  waiting: WebhookDeliveryState.PENDING,
  delivered: WebhookDeliveryState.DELIVERED,
  dead: WebhookDeliveryState.DEAD,
} as const;

const labels = { all: "All", waiting: "Waiting", delivered: "Delivered", dead: "Given up" } as const;

const nothing = {
  all: "Nothing was sent yet",
  waiting: "Nothing waits",
  delivered: "Nothing was delivered yet",
  dead: "Nothing was given up",
} as const;

const columns: readonly Column<WebhookDelivery>[] = [
  {
    id: "event",
    header: "Event",
    cell: ({ eventType, eventId }) => (
      <Stack gap={0} align="flex-start">
        <Text size="sm" fw={500}>
          {eventType}
        </Text>
        <Text size="xs" component="div">
          <CopyText text={eventId} shown={`…${eventId.slice(-8)}`} />
        </Text>
      </Stack>
    ),
  },
  {
    id: "state",
    header: "State",
    cell: ({ state, nextAttemptTime }) => (
      <Stack gap={0} align="flex-start">
        <Status {...deliveryStates[state]} />
        {nextAttemptTime !== undefined && (
          <Text size="xs" c="dimmed" component="div">
            next try <TimeAgo at={nextAttemptTime} />
          </Text>
        )}
      </Stack>
    ),
  },
  { id: "attempts", header: "Tries", cell: ({ attemptCount }) => attemptCount, numeric: true },
  {
    id: "outcome",
    header: "Last try",
    cell: ({ outcome }) => <span style={{ overflowWrap: "anywhere" }}>{outcome || "—"}</span>,
    wide: true,
  },
];
