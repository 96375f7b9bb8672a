import { Text, Tooltip } from "@mantine/core";
import { type DeviceUpdate, UpdateAction } from "../../../gen/ota/v1/rollout_pb.js";
import { Status } from "../ui/status.tsx";
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
      <Tooltip
        label="It began to install and was not heard again in the time that it has. It is held against its ring until it is."
        multiline
        maw={420}
        withArrow
      >
        <span>
          <Status tone="bad" text="Missing" />
          <Text size="xs" c="dimmed">
            {words}, since <TimeAgo at={missingSinceTime} />
          </Text>
        </span>
      </Tooltip>
    );
  }
  if (driftTime !== undefined && retryTime === undefined) {
    return (
      <Tooltip
        label="It succeeded, and runs an older version again though nobody rolled it back. Let it try again, or have the rollout's policy heal drift."
        multiline
        maw={420}
        withArrow
      >
        <span>
          <Status tone="warn" text="Drifted" />
          <Text size="xs" c="dimmed">
            to {driftVersion}, <TimeAgo at={driftTime} />
          </Text>
        </span>
      </Tooltip>
    );
  }
  if (failureReason === "") return <Status tone={tone} text={words} />;
  return (
    <Tooltip label={failureMessage || failureReason} multiline maw={420} withArrow>
      <span>
        <Status tone={tone} text={words} />
        <Text size="xs" c="dimmed">
          {failureReason}
        </Text>
      </span>
    </Tooltip>
  );
}
