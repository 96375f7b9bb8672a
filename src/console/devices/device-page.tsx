import "@mantine/core/styles/Tabs.css";
import { toJsonString } from "@bufbuild/protobuf";
import { useQuery } from "@connectrpc/connect-query";
import { Code, Grid, Skeleton, Stack, Tabs, Text } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { type Device, Standing } from "../../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { HeartbeatSchema } from "../../../gen/ota/v1/heartbeat_pb.js";
import { type DeviceSearch, deviceTabs } from "../addresses/device-search.ts";
import { useRefresh } from "../data/use-refresh.ts";
import type { ServerStream } from "../data/use-server-stream.ts";
import { useFleetStream } from "../session/use-fleet-stream.ts";
import { CopyText } from "../ui/copy-text.tsx";
import { Facts } from "../ui/facts.tsx";
import { Failure } from "../ui/failure.tsx";
import { duration } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { LiveStatus } from "../ui/live-status.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { Time, TimeAgo } from "../ui/time.tsx";
import { deviceTitle, intervalSources, pins, presences, standings } from "../words/device-words.ts";
import { DeviceActions, RetiredDeviceActions } from "./device-actions.tsx";
import { DeviceReadings } from "./device-readings.tsx";
import { DeviceUpdates } from "./device-updates.tsx";
import { ErrorPanel } from "./error-panel.tsx";
import { HeartbeatTrouble } from "./heartbeat-trouble.tsx";
import { MeasurementsPanel } from "./measurements/measurements-panel.tsx";
import { TrackPanel } from "./track-panel.tsx";
import { WhyPanel } from "./why-panel.tsx";

const route = getRouteApi("/devices/$deviceId");

/** One device: how it is and was, what it is, which updates it took or why it does not get one, and what went wrong. */
export function DevicePage() {
  const { deviceId } = route.useParams();
  const { data, error, refetch } = useQuery(
    DeviceService.method.getDevice,
    { id: deviceId },
    { refetchInterval: refreshMs },
  );
  const stream = useLiveDevice(deviceId);
  const device = data?.device;
  const trail = [
    <Link key="list" to="/devices">
      Devices
    </Link>,
  ];
  if (device === undefined) {
    return (
      <Page title="Device" trail={trail}>
        {error === null ? (
          <Skeleton h={320} />
        ) : (
          <Failure error={error} doing="show this device" retry={refetch} />
        )}
      </Page>
    );
  }
  const retired = device.retireTime !== undefined;
  return (
    <Page
      title={deviceTitle(device)}
      trail={trail}
      aside={
        retired ? (
          <Status tone="idle" text="Retired" />
        ) : (
          <>
            {device.standing !== Standing.ADMITTED && <Status {...standings[device.standing]} />}
            {device.cloneSuspectedTime !== undefined && <Status tone="bad" text="Clone suspected" />}
            <Status {...presences[device.presence]} />
            {stream !== undefined && <LiveStatus state={stream.state} />}
          </>
        )
      }
      description={
        <>
          {device.deviceType} · {device.hardwareModel} · last heard{" "}
          <TimeAgo at={device.lastSeenTime} none="never" />
        </>
      }
      actions={retired ? <RetiredDeviceActions device={device} /> : <DeviceActions device={device} />}
    >
      <Grid gap="md" align="stretch">
        <Grid.Col span={{ base: 12, lg: 7 }}>
          <DeviceReadings device={device} />
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 5 }}>
          <About device={device} />
        </Grid.Col>
      </Grid>
      <HeartbeatTrouble device={device} />
      <Parts device={device} />
    </Page>
  );
}

const refreshMs = 5_000;

function Parts({ device }: { readonly device: Device }) {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const change = (next: DeviceSearch) => void navigate({ search: next, replace: true, resetScroll: false });
  const tab = search.tab ?? deviceTabs[0];
  return (
    <Tabs
      value={tab}
      keepMounted={false}
      onChange={(value) => {
        const { tab: _, ...rest } = search;
        const next = deviceTabs.find((each) => each === value);
        change(next === undefined || next === deviceTabs[0] ? rest : { ...rest, tab: next });
      }}
    >
      <Tabs.List mb="md">
        {deviceTabs.map((value) => (
          <Tabs.Tab key={value} value={value}>
            {tabNames[value]}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      <Tabs.Panel value="measurements">
        <MeasurementsPanel device={device} search={search} onChange={change} />
      </Tabs.Panel>
      <Tabs.Panel value="map">
        <TrackPanel deviceId={device.id} search={search} onChange={change} />
      </Tabs.Panel>
      <Tabs.Panel value="updates">
        <Stack gap="md">
          {device.retireTime === undefined && <WhyPanel deviceId={device.id} />}
          <DeviceUpdates deviceId={device.id} />
        </Stack>
      </Tabs.Panel>
      <Tabs.Panel value="errors">
        <ErrorPanel deviceId={device.id} />
      </Tabs.Panel>
      <Tabs.Panel value="heartbeat">
        <RawHeartbeat device={device} />
      </Tabs.Panel>
    </Tabs>
  );
}

const tabNames: Readonly<Record<(typeof deviceTabs)[number], string>> = {
  measurements: "Measurements",
  map: "Map",
  updates: "Updates",
  errors: "Errors",
  heartbeat: "Raw heartbeat",
};

function About({ device }: { readonly device: Device }) {
  return (
    <Section title="About it">
      <Facts
        facts={[
          ["Serial number", <CopyText key="s" text={device.serialNumber} />],
          ["Groups", device.groups.join(", ") || "none"],
          ["Tags", device.tags.join(", ") || undefined],
          ["In rollouts", pins[device.updatePin]],
          [
            "Expected",
            `every ${duration(device.expectedInterval)}, ${intervalSources[device.expectedIntervalSource]}`,
          ],
          ["Security counter", String(device.securityCounter)],
          ["Client", device.agentVersion || undefined],
          ...Object.entries(device.components).map(([name, version]) => [`App ${name}`, version] as const),
          ...Object.entries(device.metadata),
          ["Enrolled", <Time key="c" at={device.createTime} />],
          ["Changed", <TimeAgo key="u" at={device.updateTime} />],
          ["May enrol until", device.enrolUntilTime && <Time key="e" at={device.enrolUntilTime} />],
          ["Clone suspected", device.cloneSuspectedTime && <Time key="k" at={device.cloneSuspectedTime} />],
          [
            "Another token",
            device.tokenRotationRequestedTime && (
              <span key="t">
                asked for <TimeAgo at={device.tokenRotationRequestedTime} />, not in use yet
              </span>
            ),
          ],
          ["Retired", device.retireTime && <Time key="r" at={device.retireTime} />],
          ["Id", <CopyText key="i" text={device.id} />],
        ]}
      />
    </Section>
  );
}

function RawHeartbeat({ device: { lastHeartbeat, lastSeenTime } }: { readonly device: Device }) {
  if (lastHeartbeat === undefined) return <Text size="sm">It has not sent a heartbeat yet.</Text>;
  return (
    <Section
      title="Newest heartbeat, as it came"
      description={
        <>
          Received <Time at={lastSeenTime} />; errors and custom metrics are kept apart
        </>
      }
    >
      <Code block tabIndex={0}>
        {toJsonString(HeartbeatSchema, lastHeartbeat, { prettySpaces: 2 })}
      </Code>
    </Section>
  );
}

/** Follows the fleet, and reads a device again at once when it comes or goes. */
function useLiveDevice(deviceId: string): ServerStream | undefined {
  const refresh = useRefresh(leastRefreshMs, DeviceService.method.getDevice);
  return useFleetStream(({ presenceChanges, presenceChangesLost }) => {
    if (presenceChangesLost || presenceChanges.some((change) => change.deviceId === deviceId)) refresh();
  });
}

const leastRefreshMs = 500;
