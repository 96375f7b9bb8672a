import { SimpleGrid, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";
import type { Device } from "../../../gen/ota/v1/device_pb.js";
import { bytes, duration, percent } from "../ui/format.ts";
import { Section } from "../ui/section.tsx";
import { networkName } from "../words/device-words.ts";

/** How a device is now, by its newest heartbeat. */
export function DeviceReadings({ device }: { readonly device: Device }) {
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
      <SimpleGrid cols={{ base: 2, sm: 3 }} spacing="md" verticalSpacing="md">
        <Reading name="Version" value={beat.firmwareVersion} />
        <Reading
          name="Battery"
          value={whole(beat.batteryPercent)}
          more={beat.charging === true ? "on external power" : undefined}
        />
        <Reading name="Up for" value={beat.uptime === undefined ? undefined : duration(beat.uptime)} />
        <Reading name="Processor" value={whole(beat.cpuPercent)} />
        <Reading name="Memory in use" value={whole(beat.memoryPercent)} />
        <Reading
          name="Free storage"
          value={beat.storageFreeBytes === undefined ? undefined : bytes(beat.storageFreeBytes)}
        />
        <Reading
          name="Temperature"
          value={
            beat.temperatureCelsius === undefined ? undefined : `${beat.temperatureCelsius.toFixed(1)} °C`
          }
        />
        <Reading
          name="Network"
          value={network && networkName(network.type)}
          more={
            network &&
            [network.carrier, network.signalDbm === undefined ? "" : `${network.signalDbm} dBm`]
              .filter((part) => part !== "")
              .join(" · ")
          }
        />
        <Reading
          name="Position"
          value={location && `${location.latitude.toFixed(4)}, ${location.longitude.toFixed(4)}`}
        />
      </SimpleGrid>
    </Section>
  );
}

interface ReadingProps {
  readonly name: string;
  /** Undefined if the device did not tell. */
  readonly value: ReactNode;
  readonly more?: string | undefined;
}

function Reading({ name, value, more }: ReadingProps) {
  return (
    <Stack gap={0}>
      <Text size="xs" c="dimmed">
        {name}
      </Text>
      <Text size="md" fw={500} className="numbers" style={{ overflowWrap: "anywhere" }}>
        {value ?? "not told"}
      </Text>
      {more !== undefined && more !== "" && (
        <Text size="xs" c="dimmed">
          {more}
        </Text>
      )}
    </Stack>
  );
}
