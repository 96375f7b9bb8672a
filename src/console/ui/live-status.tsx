import { Tooltip } from "@mantine/core";
import type { StreamState } from "../data/use-server-stream.ts";
import { Status } from "./status.tsx";

/** Whether what is shown follows the service by itself. */
export function LiveStatus({ state }: { readonly state: StreamState }) {
  const [tone, text, help] = meanings[state];
  return (
    <Tooltip label={help} withArrow multiline maw={280}>
      <span role="status" aria-live="polite">
        <Status tone={tone} text={text} active={state === "live"} />
      </span>
    </Tooltip>
  );
}

const meanings = {
  connecting: ["idle", "Connecting", "Waiting for the first answer."],
  live: ["good", "Live", "Changes appear by themselves."],
  reconnecting: [
    "warn",
    "Reconnecting",
    "The connection broke; what is shown may be old. It is tried again by itself.",
  ],
  paused: ["idle", "Paused", "This tab was in the background; it goes on as soon as you look."],
  ended: ["idle", "Final", "Nothing more will change here."],
} as const;
