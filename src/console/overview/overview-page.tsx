import { useQuery } from "@connectrpc/connect-query";
import { Grid, Group, SimpleGrid, Skeleton, Stack, Text } from "@mantine/core";
import { getRouteApi, Navigate } from "@tanstack/react-router";
import { useCallback, useState } from "react";
import {
  DeviceService,
  type GetDeviceStatusOverviewResponse,
  type PresenceChange,
} from "../../../gen/ota/v1/device_service_pb.js";
import { useRolloutRefresh } from "../data/use-rollout-refresh.ts";
import { useServerStream } from "../data/use-server-stream.ts";
import { useSession } from "../session/session.tsx";
import { Failure } from "../ui/failure.tsx";
import { LiveStatus } from "../ui/live-status.tsx";
import { Nothing } from "../ui/nothing.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { ActiveRollouts } from "./active-rollouts.tsx";
import { Distribution } from "./distribution.tsx";
import { NeedsAttention } from "./needs-attention.tsx";
import { PresenceChanges } from "./presence-changes.tsx";
import { RisingCrashes } from "./rising-crashes.tsx";
import { Stat } from "./stat.tsx";
import { VersionHistory } from "./version-history.tsx";

const route = getRouteApi("/");

/** The fleet at a glance, live; whose token is limited to some of it begins with the list of its devices. */
export function OverviewPage() {
  const { can } = useSession();
  return can(DeviceService.method.watchFleet) ? <FleetOverview /> : <Navigate to="/devices" replace />;
}

function FleetOverview() {
  const read = useQuery(DeviceService.method.getDeviceStatusOverview, {});
  const [watched, setWatched] = useState<GetDeviceStatusOverviewResponse | undefined>();
  const changes = usePresenceChanges();
  const { versions = "24h" } = route.useSearch();
  const navigate = route.useNavigate();
  const refreshRollouts = useRolloutRefresh();
  const stream = useServerStream(DeviceService.method.watchFleet, {}, ({ overview, presenceChanges }) => {
    changes.add(presenceChanges);
    if (overview === undefined) return;
    setWatched(overview);
    refreshRollouts(overview);
  });
  const fleet = watched ?? read.data;
  return (
    <Page title="Overview" aside={<LiveStatus state={stream.state} />}>
      <NeedsAttention />
      {read.error !== null && fleet === undefined && (
        <Failure error={read.error} doing="read the fleet's state" retry={read.refetch} />
      )}
      {fleet === undefined && read.error === null && <Skeleton h={96} />}
      {fleet !== undefined && <Figures fleet={fleet} />}
      <Grid gap="md" align="flex-start">
        <Grid.Col span={{ base: 12, lg: 7 }}>
          <Stack gap="md">
            {fleet === undefined ? (
              <Skeleton h={330} />
            ) : (
              <VersionHistory
                fleet={fleet}
                range={versions}
                onRange={(range) =>
                  void navigate({
                    search: range === "24h" ? {} : { versions: range },
                    replace: true,
                    resetScroll: false,
                  })
                }
              />
            )}
            <ActiveRollouts />
            <RisingCrashes />
            <PresenceChanges changes={changes.newest} />
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 5 }}>
          {fleet === undefined ? <Skeleton h={300} /> : <Distributions fleet={fleet} />}
        </Grid.Col>
      </Grid>
    </Page>
  );
}

function Figures({ fleet }: { readonly fleet: GetDeviceStatusOverviewResponse }) {
  const total = Number(fleet.totalCount);
  return (
    <SimpleGrid cols={{ base: 2, xs: 3, lg: 6 }} spacing="sm">
      <Stat label="Online" tone="good" value={fleet.onlineCount} of={total} filter="presence = ONLINE" />
      <Stat label="Late" tone="warn" value={fleet.lateCount} of={total} filter="presence = LATE" />
      <Stat label="Offline" tone="bad" value={fleet.offlineCount} of={total} filter="presence = OFFLINE" />
      <Stat
        label="Never heard from"
        tone="idle"
        value={fleet.unknownCount}
        of={total}
        filter="presence = UNKNOWN"
      />
      <Stat label="Updating now" tone="busy" value={fleet.updatingCount} of={total} />
      <Stat label="Heartbeats a second" tone="busy" value={Math.round(fleet.heartbeatsPerSecond * 10) / 10} />
    </SimpleGrid>
  );
}

function Distributions({ fleet }: { readonly fleet: GetDeviceStatusOverviewResponse }) {
  if (fleet.totalCount === 0n) {
    return (
      <Section title="Devices">
        <Nothing title="No devices yet">
          Give devices an enrolment key (Access, Enrolment keys) and let them enrol, or try it with simulated
          ones: device-ota simulate --count 50
        </Nothing>
      </Section>
    );
  }
  const total = Number(fleet.totalCount);
  return (
    <Stack gap="md">
      <Section title="Versions">
        <Distribution counts={fleet.firmwareVersions} total={total} field="firmware_version" />
      </Section>
      <Section title="Device types">
        <Distribution counts={fleet.deviceTypes} total={total} field="device_type" />
      </Section>
      {fleet.hardwareModels.length > 0 && (
        <Section title="Hardware models">
          <Distribution counts={fleet.hardwareModels} total={total} field="hardware_model" />
        </Section>
      )}
      {fleet.groups.length > 0 && (
        <Section title="Groups">
          <Distribution counts={fleet.groups} total={total} field="groups" />
        </Section>
      )}
      {fleet.batteryPercent.some(({ count }) => count > 0n) && (
        <Section title="Battery">
          <Group align="flex-end" gap={4} h={84} wrap="nowrap">
            {fleet.batteryPercent.map(({ lowerBound, count }) => (
              <Bar
                key={String(lowerBound)}
                label={`${lowerBound ?? 0}`}
                share={Number(count) / Math.max(...fleet.batteryPercent.map((each) => Number(each.count)), 1)}
                count={Number(count)}
              />
            ))}
          </Group>
          <Text size="xs" c="dimmed">
            Devices by charge in percent
          </Text>
        </Section>
      )}
    </Stack>
  );
}

function Bar({
  label,
  share,
  count,
}: {
  readonly label: string;
  readonly share: number;
  readonly count: number;
}) {
  return (
    <Stack gap={2} flex={1} align="center" title={`${count} devices from ${label} %`}>
      <div
        style={{
          width: "100%",
          height: Math.max(share * 60, 1),
          background: "var(--ota-busy)",
          borderRadius: 2,
        }}
      />
      <Text size="xs" c="dimmed" className="numbers">
        {label}
      </Text>
    </Stack>
  );
}

/** The newest changes of presence that were seen since the page was opened, newest first. */
function usePresenceChanges() {
  const [newest, setNewest] = useState<readonly PresenceChange[]>([]);
  const add = useCallback((changes: readonly PresenceChange[]) => {
    if (changes.length === 0) return;
    setNewest((known) => [...changes.toReversed(), ...known].slice(0, shownChanges));
  }, []);
  return { newest, add };
}

const shownChanges = 12;
