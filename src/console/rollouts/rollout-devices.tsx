import { Anchor, CloseButton, Group, SegmentedControl, Text, VisuallyHidden } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { type DeviceUpdate, DeviceUpdateState, type Rollout } from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { deviceFilters, type RolloutSearch } from "../addresses/rollout-search.ts";
import { usePages } from "../data/use-pages.ts";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { Link } from "../ui/link.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Section } from "../ui/section.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { rolloutTotals } from "../words/rollout-words.ts";
import { UpdateOutcome } from "../words/update-outcome.tsx";
import { RolloutDeviceActions } from "./rollout-device-actions.tsx";
import { useChangeKey } from "./use-change-key.ts";

const route = getRouteApi("/rollouts/$rolloutId");

/** The devices that a rollout has touched, narrowed by what the address says. */
export function RolloutDevices({ rollout }: { readonly rollout: Rollout }) {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { devices, ring, reason } = search;
  const pages = usePages(
    RolloutService.method.listDeviceUpdates,
    {
      rolloutId: rollout.id,
      states: [...statesOf(devices)],
      ring: ring ?? "",
      failureReason: reason ?? "",
      missing: devices === "missing",
      drifted: devices === "drifted",
      pageSize: 50,
    },
    { rowsOf: (answer) => answer.deviceUpdates },
  );
  const totals = rolloutTotals(rollout);
  const { completed = 0n, inProgress = 0n, failed = 0n } = rollout.rollback ?? {};
  useChangeKey([...Object.values(totals), completed, inProgress, failed].join(), pages.retry);
  const change = (next: RolloutSearch) => void navigate({ search: next, replace: true, hash: "devices" });
  const without = (key: keyof RolloutSearch) => {
    const { [key]: _, ...rest } = search;
    change(rest);
  };
  return (
    <div id="devices">
      <Section
        title="Devices"
        flush
        actions={
          <Group gap="xs">
            {ring !== undefined && <Chosen label={`Ring ${ring}`} clear={() => without("ring")} />}
            {reason !== undefined && <Chosen label={reason} clear={() => without("reason")} />}
            <SegmentedControl
              size="xs"
              aria-label="Which devices"
              value={devices ?? "all"}
              data={[
                { value: "all", label: "All" },
                ...deviceFilters.map((value) => ({ value, label: labels[value] })),
              ]}
              onChange={(value) => {
                const { devices: _, reason: __, ...rest } = search;
                change(
                  value === "all"
                    ? rest
                    : { ...rest, devices: value as NonNullable<RolloutSearch["devices"]> },
                );
              }}
            />
          </Group>
        }
      >
        <DataTable
          name="devices"
          columns={columnsOf(rollout)}
          pages={pages}
          keyOf={({ id }) => id}
          empty={
            Object.keys(search).length === 0 ? (
              <Nothing title="No device yet">
                Devices appear here when they are offered the update: those of an open ring, when they ask
                next.
              </Nothing>
            ) : (
              <Nothing title="No such device">
                <Anchor component="button" type="button" inherit onClick={() => change({})}>
                  Show all devices
                </Anchor>
              </Nothing>
            )
          }
        />
      </Section>
    </div>
  );
}

function Chosen({ label, clear }: { readonly label: string; readonly clear: () => void }) {
  return (
    <Group gap={2} wrap="nowrap" px={8} style={{ border: "1px solid var(--ota-border)", borderRadius: 4 }}>
      <Text size="xs">{label}</Text>
      <CloseButton size="xs" aria-label={`Clear ${label}`} onClick={clear} />
    </Group>
  );
}

const labels = {
  busy: "At it",
  succeeded: "Succeeded",
  failed: "Failed",
  missing: "Missing",
  drifted: "Drifted",
  "called-off": "Cancelled",
} as const;

function statesOf(devices: RolloutSearch["devices"]): readonly DeviceUpdateState[] {
  return devices === undefined ? [] : states[devices];
}

const states: Readonly<Record<NonNullable<RolloutSearch["devices"]>, readonly DeviceUpdateState[]>> = {
  busy: [
    DeviceUpdateState.OFFERED,
    DeviceUpdateState.DOWNLOADING,
    DeviceUpdateState.DOWNLOADED,
    DeviceUpdateState.INSTALLING,
    DeviceUpdateState.REBOOTING,
    DeviceUpdateState.VERIFYING,
  ],
  succeeded: [DeviceUpdateState.SUCCEEDED],
  failed: [DeviceUpdateState.FAILED, DeviceUpdateState.TIMED_OUT],
  // Open updates, which the filter finds by another field.
  missing: [],
  drifted: [DeviceUpdateState.SUCCEEDED],
  "called-off": [DeviceUpdateState.CANCELLED, DeviceUpdateState.SUPERSEDED, DeviceUpdateState.ROLLED_BACK],
};

function columnsOf(rollout: Rollout): readonly Column<DeviceUpdate>[] {
  return [
    {
      id: "device",
      header: "Device",
      cell: ({ deviceId }) => (
        <Text span inherit ff="monospace">
          <Link to="/devices/$deviceId" params={{ deviceId }} search={{ tab: "updates" }}>
            …{deviceId.slice(-12)}
          </Link>
        </Text>
      ),
    },
    { id: "ring", header: "Ring", cell: ({ ring }) => ring, wide: true },
    {
      id: "state",
      header: "State",
      cell: (update) => <UpdateOutcome update={update} />,
    },
    {
      id: "versions",
      header: "From → to",
      cell: ({ fromVersion, toVersion }) => `${fromVersion || "?"} → ${toVersion}`,
      wide: true,
    },
    {
      id: "changed",
      header: "Changed",
      cell: ({ updateTime }) => <TimeAgo at={updateTime} />,
      numeric: true,
    },
    {
      id: "act",
      header: <VisuallyHidden>What can be done</VisuallyHidden>,
      cell: (update) => <RolloutDeviceActions rollout={rollout} update={update} />,
      numeric: true,
    },
  ];
}
