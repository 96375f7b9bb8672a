import { Text, Tooltip } from "@mantine/core";
import { type DeviceUpdate, UpdateAction } from "../../../gen/ota/v1/rollout_pb.js";
import { Status } from "../ui/status.tsx";
import { deviceUpdateStates } from "./rollout-words.ts";

/** Where a device's update stands, and why it failed. */
export function UpdateOutcome({ update }: { readonly update: DeviceUpdate }) {
  const { state, action, failureReason, failureMessage } = update;
  const { tone, text } = deviceUpdateStates[state];
  const words = action === UpdateAction.ROLLBACK ? `${text} (rollback)` : text;
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
