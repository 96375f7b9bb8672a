import { Progress, SegmentedControl, Stack, Text, Tooltip } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { getRouteApi } from "@tanstack/react-router";
import { type Rollout, RolloutState } from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { type RolloutListSearch, rolloutFilters } from "../addresses/rollout-search.ts";
import { usePages } from "../data/use-pages.ts";
import { useRolloutRefresh } from "../data/use-rollout-refresh.ts";
import { useSession } from "../session/session.tsx";
import { useFleetStream } from "../session/use-fleet-stream.ts";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { count } from "../ui/format.ts";
import { Link, LinkButton } from "../ui/link.tsx";
import { LiveStatus } from "../ui/live-status.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { Status, toneColor } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import {
  activeStates,
  overStates,
  rolloutStatus,
  rolloutTitle,
  rolloutTotals,
} from "../words/rollout-words.ts";

const route = getRouteApi("/rollouts");

/** All rollouts, newest first, with how far each has come. */
export function RolloutListPage() {
  const { show } = route.useSearch();
  const navigate = route.useNavigate();
  const { can } = useSession();
  const create = can(RolloutService.method.createRollout) ? (
    <LinkButton to="/rollouts/new" size="sm" leftSection={<IconPlus size={16} aria-hidden />}>
      New rollout
    </LinkButton>
  ) : undefined;
  const pages = usePages(
    RolloutService.method.listRollouts,
    { states: [...statesOf(show)], showArchived: show === "archived" },
    { rowsOf: (answer) => answer.rollouts, everyMs: refreshMs },
  );
  const refresh = useRolloutRefresh();
  const stream = useFleetStream(({ overview }) => {
    if (overview !== undefined) refresh(overview);
  });
  return (
    <Page
      title="Rollouts"
      aside={stream !== undefined && <LiveStatus state={stream.state} />}
      actions={create}
      description="A rollout brings one firmware to the devices that it targets, ring by ring, and goes on only while the devices' heartbeats prove it right."
    >
      <Section
        title="All rollouts"
        flush
        actions={
          <SegmentedControl
            aria-label="Which rollouts"
            size="xs"
            value={show ?? "all"}
            data={[
              { value: "all", label: "All" },
              ...rolloutFilters.map((value) => ({ value, label: labels[value] })),
            ]}
            onChange={(value) =>
              void navigate({
                search: value === "all" ? {} : { show: value as NonNullable<RolloutListSearch["show"]> },
                replace: true,
              })
            }
          />
        }
      >
        <DataTable
          name="rollouts"
          columns={columns}
          pages={pages}
          keyOf={({ id }) => id}
          empty={
            show === undefined ? (
              <Nothing title="No rollouts yet" actions={create}>
                Release a firmware first; then plan its rollout.
              </Nothing>
            ) : (
              <Nothing title="No such rollout">Choose All above to see every rollout.</Nothing>
            )
          }
        />
      </Section>
    </Page>
  );
}

/** The list has no stream of its own: it is read again this often while it is shown. */
const refreshMs = 10_000;

const labels = { active: "Active", over: "Over", draft: "Drafts", archived: "With archived" } as const;

function statesOf(show: RolloutListSearch["show"]): readonly RolloutState[] {
  switch (show) {
    case "active":
      return activeStates;
    case "over":
      return overStates;
    case "draft":
      return [RolloutState.DRAFT];
    case "archived":
    case undefined:
      return [];
  }
}

const columns: readonly Column<Rollout>[] = [
  {
    id: "name",
    header: "Rollout",
    cell: (rollout) => (
      <Stack gap={0}>
        <Link to="/rollouts/$rolloutId" params={{ rolloutId: rollout.id }} fw={500}>
          {rolloutTitle(rollout)}
        </Link>
        <Text size="xs" c="dimmed">
          {rollout.product} {rollout.version}
        </Text>
      </Stack>
    ),
  },
  {
    id: "state",
    header: "State",
    cell: (rollout) => <Status {...rolloutStatus(rollout)} />,
  },
  { id: "rings", header: "Rings", cell: (rollout) => <RingBar rollout={rollout} />, width: 220, wide: true },
  {
    id: "succeeded",
    header: "Succeeded",
    cell: (rollout) => count(rolloutTotals(rollout).succeeded),
    numeric: true,
    wide: true,
  },
  {
    id: "failed",
    header: "Failed",
    cell: (rollout) => {
      const { failed } = rolloutTotals(rollout);
      return (
        <Text span inherit c={failed > 0 ? toneColor("bad") : "dimmed"}>
          {count(failed)}
        </Text>
      );
    },
    numeric: true,
  },
  { id: "created", header: "Created", cell: ({ createTime }) => <TimeAgo at={createTime} />, numeric: true },
];

/** The share of its offers that each outcome has. */
function RingBar({ rollout }: { readonly rollout: Rollout }) {
  const { offered, inProgress, succeeded, failed, missing } = rolloutTotals(rollout);
  const open = rollout.rings.filter(({ openTime }) => openTime !== undefined).length;
  const text =
    offered === 0
      ? "nobody was offered it yet"
      : `${count(succeeded)} succeeded, ${count(failed)} failed, ${count(missing)} missing, ${count(inProgress - missing)} updating`;
  return (
    <Tooltip label={text} withArrow>
      <Stack gap={3}>
        <Text size="xs" c="dimmed">
          {open} of {rollout.rings.length} rings open
        </Text>
        <Progress.Root size={6}>
          {parts(offered, { good: succeeded, bad: failed + missing, busy: inProgress - missing }).map(
            ([tone, share]) => (
              <Progress.Section key={tone} value={share} color={toneColor(tone)} aria-label={text} />
            ),
          )}
        </Progress.Root>
      </Stack>
    </Tooltip>
  );
}

function parts<T extends string>(whole: number, values: Readonly<Record<T, number>>): [T, number][] {
  return (Object.entries(values) as [T, number][])
    .filter(([, value]) => value > 0)
    .map(([tone, value]) => [tone, (100 * value) / Math.max(whole, 1)]);
}
