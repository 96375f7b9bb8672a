import { Group, Stack, Text } from "@mantine/core";
import type { PresenceChange } from "../../../gen/ota/v1/device_service_pb.js";
import { Link } from "../ui/link.tsx";
import { Section } from "../ui/section.tsx";
import { Status } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { presences } from "../words/device-words.ts";

/** Devices that came or went while the page was open. */
export function PresenceChanges({ changes }: { readonly changes: readonly PresenceChange[] }) {
  return (
    <Section title="Coming and going" description="Since you opened this page">
      {changes.length === 0 ? (
        <Text size="sm" c="dimmed">
          Nothing has changed.
        </Text>
      ) : (
        <Stack gap={4}>
          {changes.map(({ deviceId, presence, previousPresence, changeTime }) => (
            <Group
              key={`${deviceId} ${changeTime?.seconds} ${presence}`}
              justify="space-between"
              wrap="nowrap"
              mih={24}
            >
              <Text size="sm" component="div" ff="monospace">
                <Link to="/devices/$deviceId" params={{ deviceId }}>
                  …{deviceId.slice(-12)}
                </Link>
              </Text>
              <Group gap="xs" wrap="nowrap">
                <Text size="xs" c="dimmed">
                  {presences[previousPresence].text} →
                </Text>
                <Status {...presences[presence]} />
                <Text size="xs" c="dimmed">
                  <TimeAgo at={changeTime} />
                </Text>
              </Group>
            </Group>
          ))}
        </Stack>
      )}
    </Section>
  );
}
