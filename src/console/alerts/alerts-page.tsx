import { Box, Group, SegmentedControl, Select, Skeleton } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { AlertState } from "../../../gen/ota/v1/alert_pb.js";
import { AlertService } from "../../../gen/ota/v1/alert_service_pb.js";
import { WebhookService } from "../../../gen/ota/v1/alert_webhook_service_pb.js";
import { type AlertSearch, alertFilters } from "../addresses/alert-search.ts";
import { AlertList } from "../attention/alert-list.tsx";
import { alertPollMs } from "../attention/use-open-alerts.ts";
import { usePages } from "../data/use-pages.ts";
import { useSession } from "../session/session.tsx";
import { Failure } from "../ui/failure.tsx";
import { LinkButton } from "../ui/link.tsx";
import { LiveStatus } from "../ui/live-status.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { ShowMore } from "../ui/show-more.tsx";
import { alertRules } from "../words/alert-rules.ts";

const route = getRouteApi("/alerts");

/** What needs a person, what somebody has taken note of, and what is over. */
export function AlertsPage() {
  const { can } = useSession();
  return (
    <Page
      title="Alerts"
      actions={
        can(WebhookService.method.listWebhooks) && (
          <LinkButton to="/alerts/webhooks" variant="default" size="sm">
            Webhooks
          </LinkButton>
        )
      }
      description="What needs a person, for as long as it does: an alert ends by itself when what it is about is over."
    >
      {can(AlertService.method.listAlerts) ? (
        <Alerts />
      ) : (
        <Nothing title="Not for this token">
          Alerts are about the whole fleet, and your token is limited.
        </Nothing>
      )}
    </Page>
  );
}

function Alerts() {
  const { show, rule } = route.useSearch();
  const navigate = route.useNavigate();
  const pages = usePages(
    AlertService.method.listAlerts,
    { ...requests[show ?? "open"], rule: rule ?? "", pageSize },
    { rowsOf: (answer) => answer.alerts, everyMs: alertPollMs },
  );
  const { rows, error, isStale, retry } = pages;
  const change = (search: AlertSearch) => void navigate({ search, replace: true });
  return (
    <Section
      title={titles[show ?? "open"]}
      actions={
        <Group gap="xs">
          <LiveStatus state={error !== null ? "reconnecting" : rows === undefined ? "connecting" : "live"} />
          <Select
            aria-label="What they are about"
            placeholder="About anything"
            size="xs"
            w={230}
            clearable
            searchable
            data={ruleChoices}
            value={rule ?? null}
            onChange={(value) => change({ ...(show && { show }), ...(value !== null && { rule: value }) })}
          />
          <SegmentedControl
            aria-label="Which alerts"
            size="xs"
            value={show ?? "open"}
            data={[
              { value: "open", label: "Open" },
              ...alertFilters.map((value) => ({ value, label: labels[value] })),
            ]}
            onChange={(value) =>
              change({
                ...(value !== "open" && { show: value as NonNullable<AlertSearch["show"]> }),
                ...(rule !== undefined && { rule }),
              })
            }
          />
        </Group>
      }
    >
      {error !== null && <Failure error={error} doing="list the alerts" retry={retry} />}
      {rows === undefined && error === null && <Skeleton h={160} />}
      {rows !== undefined && (
        <Box aria-busy={isStale} opacity={isStale ? 0.6 : 1}>
          <AlertList
            name={titles[show ?? "open"]}
            alerts={rows}
            empty={<Nothing title={nothing[show ?? "open"]}>{nothingMore(rule)}</Nothing>}
          />
        </Box>
      )}
      <ShowMore pages={pages} />
    </Section>
  );
}

const pageSize = 50;

const requests = {
  open: { state: AlertState.FIRING, unacknowledged: true },
  acknowledged: { state: AlertState.FIRING, acknowledged: true },
  ended: { state: AlertState.RESOLVED },
} as const;

const labels = { acknowledged: "Acknowledged", ended: "Ended" } as const;

const titles = {
  open: "Open alerts",
  acknowledged: "Acknowledged alerts",
  ended: "Ended alerts",
} as const;

const nothing = {
  open: "Nothing needs a person",
  acknowledged: "Nobody is at an alert",
  ended: "No alert has ended",
} as const;

function nothingMore(rule: string | undefined): string {
  if (rule !== undefined) return "Choose another rule above, or none.";
  return "Alerts appear here by themselves.";
}

const ruleChoices = Object.entries(alertRules).map(([value, label]) => ({ value, label }));
