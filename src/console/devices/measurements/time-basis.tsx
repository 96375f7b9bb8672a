import { Group, SegmentedControl, Text } from "@mantine/core";
import { useId } from "react";
import { TimeBasis } from "../../../../gen/ota/v1/telemetry_service_pb.js";
import type { DeviceSearch } from "../../addresses/device-search.ts";

/** By which time the address wants heartbeats placed. */
export function timeBasisOf({ by }: DeviceSearch): TimeBasis {
  return by === "device" ? TimeBasis.DEVICE : TimeBasis.RECEIVE;
}

interface TimeBasisChoiceProps {
  readonly search: DeviceSearch;
  readonly onChange: (search: DeviceSearch) => void;
}

/** Chooses by which time heartbeats are placed, and says what the difference is. */
export function TimeBasisChoice({ search, onChange }: TimeBasisChoiceProps) {
  const { by: _, ...rest } = search;
  const basis = timeBasisOf(search);
  const meaningId = useId();
  return (
    <Group gap="xs">
      <SegmentedControl
        size="xs"
        aria-label="Placed by"
        aria-describedby={meaningId}
        value={String(basis)}
        data={[
          { value: String(TimeBasis.RECEIVE), label: "Time of receipt" },
          { value: String(TimeBasis.DEVICE), label: "Device's time" },
        ]}
        onChange={(value) => onChange(Number(value) === TimeBasis.DEVICE ? { ...rest, by: "device" } : rest)}
      />
      <Text size="xs" c="dimmed" id={meaningId}>
        {basis === TimeBasis.DEVICE ? deviceMeaning : receiveMeaning}
      </Text>
    </Group>
  );
}

const receiveMeaning =
  "When the service heard it: what a device kept while it was away lies where it came back.";

const deviceMeaning =
  "When the device made it, by its own clock: a day that it kept is drawn as a day. Where that clock cannot be right, the time of receipt.";
