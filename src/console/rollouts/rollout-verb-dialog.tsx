import type { DescMessage, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import { callUnaryMethod, useTransport } from "@connectrpc/connect-query";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type { Rollout, VerbEffect } from "../../../gen/ota/v1/rollout_pb.js";
import { Confirm } from "../ui/confirm.tsx";
import { RollbackTarget } from "./rollback-target.tsx";
import type { RolloutVerb } from "./rollout-verbs.ts";
import { StartWarnings } from "./start-warnings.tsx";
import { useTellOutcome } from "./verb-outcome.tsx";

interface RolloutVerbDialogProps {
  readonly rollout: Rollout;
  readonly verb: RolloutVerb;
  /** Hears of the rollout as it is after the act. */
  readonly changed: (rollout: Rollout) => void;
  readonly close: () => void;
}

/** Asks before something is done to a rollout: says what it will do, and before a start what there is to know. */
export function RolloutVerbDialog({ rollout, verb, changed, close }: RolloutVerbDialogProps) {
  const transport = useTransport();
  const queries = useQueryClient();
  const [target, setTarget] = useState("");
  const tell = useTellOutcome();

  const act = async (reason: string) => {
    const method = verb.method as DescMethodUnary<DescMessage, DescMessage>;
    const request = {
      id: rollout.id,
      reason,
      ...verb.input(rollout),
      ...targetOf(verb, target),
    } as MessageInitShape<DescMessage>;
    const answer = (await callUnaryMethod(transport, method, request)) as unknown as {
      rollout?: Rollout;
      effect?: VerbEffect;
    };
    if (answer.rollout !== undefined) changed(answer.rollout);
    tell(answer.effect);
    await queries.invalidateQueries();
  };

  return (
    <Confirm
      opened
      title={verb.question(rollout)}
      consequences={verb.consequences(rollout)}
      {...(verb.typed === undefined ? {} : { typed: verb.typed(rollout) })}
      confirm={verb.label(rollout)}
      doing={verb.doing}
      withReason={verb.withReason}
      act={act}
      close={close}
    >
      {verb.name === "start" && <StartWarnings rolloutId={rollout.id} />}
      {verb.name === "rollback" && <RollbackTarget rollout={rollout} value={target} onChange={setTarget} />}
    </Confirm>
  );
}

/** What the devices go back to, if that was chosen. */
function targetOf({ name }: RolloutVerb, firmwareId: string): { firmwareId?: string } {
  return name === "rollback" && firmwareId !== "" ? { firmwareId } : {};
}
