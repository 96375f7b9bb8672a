import { callUnaryMethod, useTransport } from "@connectrpc/connect-query";
import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import {
  type DeviceUpdate,
  DeviceUpdateState,
  type Rollout,
  UpdateAction,
} from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { useSession } from "../session/session.tsx";
import { Confirm } from "../ui/confirm.tsx";
import { canRollBackParts } from "./rollout-verbs.ts";
import { useTellOutcome } from "./verb-outcome.tsx";

interface RolloutDeviceActionsProps {
  readonly rollout: Rollout;
  readonly update: DeviceUpdate;
}

/** What can be done to one device of a rollout: another try after a failure, or its way back. */
export function RolloutDeviceActions({ rollout, update }: RolloutDeviceActionsProps) {
  const { can } = useSession();
  const transport = useTransport();
  const queries = useQueryClient();
  const [asking, setAsking] = useState(false);
  const tell = useTellOutcome();
  const verb = verbFor(update);
  if (verb === undefined || !can(RolloutService.method.retryDevice) || !canRollBackParts(rollout))
    return null;
  const words = verb === "retry" ? retryWords : rollbackWords;
  const device = `…${update.deviceId.slice(-12)}`;
  return (
    <>
      <Button
        size="compact-xs"
        variant="default"
        aria-label={`${words.label} ${device}`}
        onClick={() => setAsking(true)}
      >
        {words.label}
      </Button>
      <Confirm
        opened={asking}
        title={`${words.label}: ${device}?`}
        consequences={words.consequences}
        confirm={words.label}
        doing={words.doing}
        danger={verb === "rollback"}
        withReason
        act={async (reason) => {
          const request = { id: rollout.id, deviceId: update.deviceId, reason };
          const { method } = RolloutService;
          const { effect } = await (verb === "retry"
            ? callUnaryMethod(transport, method.retryDevice, request)
            : callUnaryMethod(transport, method.rollbackDevice, request));
          tell(effect);
          await queries.invalidateQueries();
        }}
        close={() => setAsking(false)}
      />
    </>
  );
}

function verbFor({
  state,
  action,
  attempt,
  retryTime,
  driftTime,
}: DeviceUpdate): "retry" | "rollback" | undefined {
  if (action === UpdateAction.ROLLBACK) return undefined;
  switch (state) {
    case DeviceUpdateState.FAILED:
    case DeviceUpdateState.TIMED_OUT:
      // One with a time to retry was followed by another try, which has a row of its own.
      return retryTime === undefined ? "retry" : undefined;
    case DeviceUpdateState.OFFERED:
      return attempt > 1 ? "retry" : "rollback";
    case DeviceUpdateState.DOWNLOADING:
    case DeviceUpdateState.DOWNLOADED:
    case DeviceUpdateState.INSTALLING:
    case DeviceUpdateState.REBOOTING:
    case DeviceUpdateState.VERIFYING:
      return "rollback";
    case DeviceUpdateState.SUCCEEDED:
      if (retryTime !== undefined) return undefined;
      return driftTime === undefined ? "rollback" : "retry";
    case DeviceUpdateState.UNSPECIFIED:
    case DeviceUpdateState.SUPERSEDED:
    case DeviceUpdateState.CANCELLED:
    case DeviceUpdateState.ROLLED_BACK:
      return undefined;
  }
}

const retryWords = {
  label: "Try again",
  consequences: [
    "The device is offered the update once more when it asks next.",
    "It counts as updating again instead of failed.",
  ],
  doing: "let the device try again",
};

const rollbackWords = {
  label: "Roll back",
  consequences: [
    "If it has installed the update, it is offered the version that it came from: it downloads, installs and reboots once more.",
    "If it has not, it is told to stop.",
    "Other devices and the rollout go on.",
  ],
  doing: "roll the device back",
};
