import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Group, Stack, Text } from "@mantine/core";
import { count } from "../../ui/format.ts";
import { Link } from "../../ui/link.tsx";
import { Status, type Tone } from "../../ui/status.tsx";
import { Time } from "../../ui/time.tsx";
import { ErrorGroupLink } from "../error-group-link.tsx";
import type { DeviceEvent, EventKind } from "./device-event.ts";

/** Events as text, newest first, with the way to what is behind them. */
export function EventList({ events }: { readonly events: readonly DeviceEvent[] }) {
  if (events.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        No update, reboot or error.
      </Text>
    );
  }
  const shown = events.toReversed().slice(0, most);
  return (
    <Stack gap={6}>
      {shown.map((event) => (
        <Group key={`${event.atMs} ${event.text}`} gap="sm" wrap="nowrap" align="flex-start">
          <Text size="sm" w={150} c="dimmed" style={{ flex: "none" }}>
            <Time at={timestampFromMs(event.atMs)} />
          </Text>
          <Status tone={tones[event.kind]} text={singular[event.kind]} />
          <Text size="sm" style={{ overflowWrap: "anywhere", minWidth: 0 }}>
            <EventText event={event} />
          </Text>
        </Group>
      ))}
      {events.length > most && (
        <Text size="xs" c="dimmed">
          and {count(events.length - most)} before; zoom in to see them
        </Text>
      )}
    </Stack>
  );
}

/** What is older is on the drawing. */
const most = 30;

const tones: Readonly<Record<EventKind, Tone>> = {
  Updates: "busy",
  Reboots: "idle",
  Crashes: "bad",
  Errors: "warn",
};

const singular: Readonly<Record<EventKind, string>> = {
  Updates: "Update",
  Reboots: "Reboot",
  Crashes: "Crash",
  Errors: "Error",
};

function EventText({ event: { text, rolloutId, groupId } }: { readonly event: DeviceEvent }) {
  if (rolloutId !== undefined) {
    return (
      <Link to="/rollouts/$rolloutId" params={{ rolloutId }}>
        {text}
      </Link>
    );
  }
  return groupId === undefined ? text : <ErrorGroupLink groupId={groupId}>{text}</ErrorGroupLink>;
}
