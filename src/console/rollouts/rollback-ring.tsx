import { callUnaryMethod, useTransport } from "@connectrpc/connect-query";
import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { type Ring, RingState, type Rollout } from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { useSession } from "../session/session.tsx";
import { Confirm } from "../ui/confirm.tsx";
import { counted } from "../ui/format.ts";
import { canRollBackParts, isWayOut } from "./rollout-verbs.ts";
import { useTellOutcome } from "./verb-outcome.tsx";

interface RollbackRingProps {
  readonly rollout: Rollout;
  readonly ring: Ring;
}

/** Rolls the update back from the devices of one ring that was opened. */
export function RollbackRing({ rollout, ring }: RollbackRingProps) {
  const { can } = useSession();
  const transport = useTransport();
  const queries = useQueryClient();
  const [asking, setAsking] = useState(false);
  const tell = useTellOutcome();
  const wasOpened = ring.state === RingState.OPEN || ring.state === RingState.PASSED;
  if (
    !can(RolloutService.method.rollbackRing) ||
    !canRollBackParts(rollout) ||
    isWayOut(rollout) ||
    !wasOpened
  )
    return null;
  const { succeeded = 0n, inProgress = 0n } = ring.counters ?? {};
  return (
    <>
      <Button size="compact-xs" variant="default" w="fit-content" onClick={() => setAsking(true)}>
        Roll back {ring.name}
      </Button>
      <Confirm
        opened={asking}
        title={`Roll the update back from the ring ${ring.name}?`}
        consequences={[
          `${counted(succeeded, "device")} that took it and ${counted(inProgress, "device")} updating go back to the version that they came from.`,
          "Devices of other rings keep what they have.",
          "The ring counts as failed, and the rollout pauses until somebody decides how to go on.",
        ]}
        typed={ring.name}
        confirm={`Roll back ${ring.name}`}
        doing="roll the ring back"
        withReason
        act={async (reason) => {
          const request = { id: rollout.id, ring: ring.name, reason };
          const { effect } = await callUnaryMethod(transport, RolloutService.method.rollbackRing, request);
          tell(effect);
          await queries.invalidateQueries();
        }}
        close={() => setAsking(false)}
      />
    </>
  );
}
