import { Text, Tooltip } from "@mantine/core";
import type { ReactNode } from "react";
import { type DeviceUpdate, UpdateAction } from "../../../gen/ota/v1/rollout_pb.js";
import { Status, type Tone } from "../ui/status.tsx";
import { TimeAgo } from "../ui/time.tsx";
import { deviceUpdateStates } from "./rollout-words.ts";

/** Where a device's update stands, and why it failed. */
export function UpdateOutcome({ update }: { readonly update: DeviceUpdate }) {
  const { state, action, failureReason, failureMessage, missingSinceTime, endTime } = update;
  const { driftTime, driftVersion, retryTime } = update;
  const { tone, text } = deviceUpdateStates[state];
  const words = action === UpdateAction.ROLLBACK ? `${text} (rollback)` : text;
  if (missingSinceTime !== undefined && endTime === undefined) {
    return (
      <Explained
        status={{ tone: "bad", text: "Missing" }}
        detail={
          <>
            {words}, since <TimeAgo at={missingSinceTime} />
          </>
        }
        why="It began to install and was not heard again in the time that it has. It is held against its ring until it is."
      />
    );
  }
  if (driftTime !== undefined && retryTime === undefined) {
    return (
      <Explained
        status={{ tone: "warn", text: "Drifted" }}
        detail={
          <>
            to {driftVersion}, <TimeAgo at={driftTime} />
          </>
        }
        why="It succeeded, and runs an older version again though nobody rolled it back. Let it try again, or have the rollout's policy heal drift."
      />
    );
  }
  if (failureReason === "") return <Status tone={tone} text={words} />;
  return (
    <Explained status={{ tone, text: words }} detail={failureReason} why={failureMessage || failureReason} />
  );
}

interface ExplainedProps {
  readonly status: { readonly tone: Tone; readonly text: string };
  readonly detail: ReactNode;
  /** Shown to who points at it. */
  readonly why: string;
}

function Explained({ status, detail, why }: ExplainedProps) {
  return (
    <Tooltip label={why} multiline maw={420} withArrow>
      <span>
        <Status {...status} />
        <Text size="xs" c="dimmed">
          {detail}
        </Text>
      </span>
    </Tooltip>
  );
}
