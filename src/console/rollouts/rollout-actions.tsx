import type { DescMessage, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import { callUnaryMethod, useTransport } from "@connectrpc/connect-query";
import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Role } from "../../../gen/ota/v1/access_pb.js";
import type { Rollout, VerbEffect } from "../../../gen/ota/v1/rollout_pb.js";
import { useSession } from "../session/session.tsx";
import { Confirm } from "../ui/confirm.tsx";
import { RollbackTarget } from "./rollback-target.tsx";
import { isCreator } from "./rollout-creator.ts";
import { type RolloutVerb, verbsFor } from "./rollout-verbs.ts";
import { useTellOutcome } from "./verb-outcome.tsx";

interface RolloutActionsProps {
  readonly rollout: Rollout;
  /** Hears of the rollout as it is after an act. */
  readonly changed: (rollout: Rollout) => void;
}

/** What can be done to a rollout in its state, with what it will do said before. */
export function RolloutActions({ rollout, changed }: RolloutActionsProps) {
  const session = useSession();
  const transport = useTransport();
  const queries = useQueryClient();
  const [asking, setAsking] = useState<RolloutVerb | undefined>();
  const [target, setTarget] = useState("");
  const tell = useTellOutcome();
  if (!session.can(Role.OPERATOR)) return null;

  const act = async (verb: RolloutVerb, reason: string) => {
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
    <>
      {verbsFor(rollout, isCreator(rollout, session.name)).map((verb) => (
        <Button
          key={verb.name}
          size="sm"
          variant={verb.isMain ? "filled" : "default"}
          onClick={() => {
            setTarget("");
            setAsking(verb);
          }}
        >
          {verb.label(rollout)}
        </Button>
      ))}
      {asking !== undefined && (
        <Confirm
          opened
          title={asking.question(rollout)}
          consequences={asking.consequences(rollout)}
          {...(asking.typed === undefined ? {} : { typed: asking.typed(rollout) })}
          confirm={asking.label(rollout)}
          doing={asking.doing}
          withReason={asking.withReason}
          act={(reason) => act(asking, reason)}
          close={() => setAsking(undefined)}
        >
          {asking.name === "rollback" && (
            <RollbackTarget rollout={rollout} value={target} onChange={setTarget} />
          )}
        </Confirm>
      )}
    </>
  );
}

/** What the devices go back to, if that was chosen. */
function targetOf({ name }: RolloutVerb, firmwareId: string): { firmwareId?: string } {
  return name === "rollback" && firmwareId !== "" ? { firmwareId } : {};
}
