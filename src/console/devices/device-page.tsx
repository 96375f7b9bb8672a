import { toJsonString } from "@bufbuild/protobuf";
import { useQuery } from "@connectrpc/connect-query";
import { Code, Grid, Skeleton, Stack, Text } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import type { Device } from "../../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { HeartbeatSchema } from "../../../gen/ota/v1/heartbeat_pb.js";
import { CopyText } from "../ui/copy-text.tsx";
import { Facts } from "../ui/facts.tsx";
import { Failure } from "../ui/failure.tsx";
import { bytes, duration, percent } from "../ui/format.ts";
import { Link } from "../ui/link.tsx";
import { Page } from "../ui/page.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { Time, TimeAgo } from "../ui/time.tsx";
import { DeviceActions } from "./device-actions.tsx";
import { DeviceUpdates } from "./device-updates.tsx";
import { deviceTitle, networkName, pins, presences } from "./device-words.ts";

const route = getRouteApi("/devices/$deviceId");

/** One device: how it is, what it is, and which updates it took. */
export function DevicePage() {
  const { deviceId } = route.useParams();
  const { data, error, refetch } = useQuery(
    DeviceService.method.getDevice,
    { id: deviceId },
    { refetchInterval: refreshMs },
  );
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
      aside={retired ? <Status tone="idle" text="Retired" /> : <Status {...presences[device.presence]} />}
      description={
        <>
          {device.deviceType} · {device.hardwareModel} · last heard{" "}
          <TimeAgo at={device.lastSeenTime} none="never" />
        </>
      }
      actions={retired ? undefined : <DeviceActions device={device} />}
    >
      <Grid gap="md" align="flex-start">
        <Grid.Col span={{ base: 12, lg: 7 }}>
          <Stack gap="md">
            <Readings device={device} />
            <DeviceUpdates deviceId={device.id} />
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 5 }}>
          <Stack gap="md">
            <About device={device} />
            <RawHeartbeat device={device} />
          </Stack>
        </Grid.Col>
      </Grid>
    </Page>
  );
}

const refreshMs = 5_000;

function Readings({ device }: { readonly device: Device }) {
  const beat = device.lastHeartbeat;
  if (beat === undefined) {
    return (
      <Section title="Now">
        <Text size="sm">It has not sent a heartbeat yet.</Text>
      </Section>
    );
  }
  const { network, location } = beat;
  const whole = (value: number | undefined) => (value === undefined ? undefined : percent(Math.round(value)));
  return (
    <Section title="Now" description="From its newest heartbeat">
      <Facts
        facts={[
          ["Version", beat.firmwareVersion],
          [
            "Battery",
            beat.batteryPercent === undefined
              ? undefined
              : `${percent(Math.round(beat.batteryPercent))}${beat.charging === true ? ", on external power" : ""}`,
          ],
          ["Processor", whole(beat.cpuPercent)],
          ["Memory", whole(beat.memoryPercent)],
          ["Free storage", beat.storageFreeBytes === undefined ? undefined : bytes(beat.storageFreeBytes)],
          [
            "Temperature",
            beat.temperatureCelsius === undefined ? undefined : `${beat.temperatureCelsius.toFixed(1)} °C`,
          ],
          [
            "Network",
            network === undefined
              ? undefined
              : [
                  networkName(network.type),
                  network.carrier,
                  network.signalDbm === undefined ? "" : `${network.signalDbm} dBm`,
                ]
                  .filter((part) => part !== "")
                  .join(" · "),
          ],
          [
            "Position",
            location === undefined
              ? undefined
              : `${location.latitude.toFixed(5)}, ${location.longitude.toFixed(5)}`,
          ],
          ["Up for", duration(beat.uptime)],
        ]}
      />
    </Section>
  );
}

function About({ device }: { readonly device: Device }) {
  return (
    <Section title="About it">
      <Facts
        facts={[
          ["Serial number", <CopyText key="s" text={device.serialNumber} />],
          ["Groups", device.groups.join(", ") || "none"],
          ["Tags", device.tags.join(", ") || undefined],
          ["In rollouts", pins[device.updatePin]],
          ["Security counter", String(device.securityCounter)],
          ["Client", device.agentVersion || undefined],
          ...Object.entries(device.components).map(([name, version]) => [`App ${name}`, version] as const),
          ...Object.entries(device.metadata),
          ["Enrolled", <Time key="c" at={device.createTime} />],
          ["Changed", <TimeAgo key="u" at={device.updateTime} />],
          ["Retired", device.retireTime && <Time key="r" at={device.retireTime} />],
          ["Id", <CopyText key="i" text={device.id} />],
        ]}
      />
    </Section>
  );
}

function RawHeartbeat({ device: { lastHeartbeat } }: { readonly device: Device }) {
  if (lastHeartbeat === undefined) return null;
  return (
    <Section title="Newest heartbeat, as it came">
      <Code block mah={320} style={{ overflow: "auto" }} tabIndex={0}>
        {toJsonString(HeartbeatSchema, lastHeartbeat, { prettySpaces: 2 })}
      </Code>
    </Section>
  );
}
