import { List } from "@mantine/core";
import type { Device } from "../../../gen/ota/v1/device_pb.js";
import { Section } from "../ui/section.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { clockText, faultText } from "../words/heartbeat-words.ts";

/** What keeps a device from being heard as it means to be; nothing for one that has no trouble. */
export function HeartbeatTrouble({ device }: { readonly device: Device }) {
  const clock = clockText(device);
  if (clock === undefined && device.heartbeatFaults.length === 0) return null;
  return (
    <Section title="Trouble with its heartbeats" description="What it sends, and the newest of each kind">
      <List size="sm" spacing={4}>
        {clock !== undefined && <List.Item>{clock}</List.Item>}
        {device.heartbeatFaults.map((fault) => (
          <List.Item key={`${fault.kind} ${fault.field}`}>
            {faultText(fault)}, <TimeAgo at={fault.newestTime} />
          </List.Item>
        ))}
      </List>
    </Section>
  );
}
