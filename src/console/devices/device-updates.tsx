import { Text } from "@mantine/core";
import type { DeviceUpdate } from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { usePages } from "../data/use-pages.ts";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { Link } from "../ui/link.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Section } from "../ui/section.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { UpdateOutcome } from "../words/update-outcome.tsx";

/** The updates that a device was offered, newest first. */
export function DeviceUpdates({ deviceId }: { readonly deviceId: string }) {
  const pages = usePages(
    RolloutService.method.listDeviceUpdates,
    { deviceId, showArchived: true },
    { rowsOf: (answer) => answer.deviceUpdates, everyMs: refreshMs },
  );
  return (
    <Section title="Updates" flush>
      <DataTable
        name="updates"
        columns={columns}
        pages={pages}
        keyOf={({ id }) => id}
        empty={<Nothing title="No update yet">No rollout has offered it anything.</Nothing>}
      />
    </Section>
  );
}

const refreshMs = 10_000;

const columns: readonly Column<DeviceUpdate>[] = [
  {
    id: "versions",
    header: "From → to",
    cell: ({ rolloutId, fromVersion, toVersion, archived }) => (
      <>
        <Link to="/rollouts/$rolloutId" params={{ rolloutId }}>
          {fromVersion || "?"} → {toVersion}
        </Link>
        {archived && (
          <Text size="xs" c="dimmed">
            archived
          </Text>
        )}
      </>
    ),
  },
  { id: "outcome", header: "State", cell: (update) => <UpdateOutcome update={update} /> },
  { id: "ring", header: "Ring", cell: ({ ring }) => ring, wide: true },
  { id: "offered", header: "Offered", cell: ({ offerTime }) => <TimeAgo at={offerTime} />, wide: true },
  { id: "changed", header: "Changed", cell: ({ updateTime }) => <TimeAgo at={updateTime} />, numeric: true },
];
