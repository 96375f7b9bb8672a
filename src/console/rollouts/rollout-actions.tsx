import { Button } from "@mantine/core";
import { useState } from "react";
import type { Rollout } from "../../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { useSession } from "../session/session.tsx";
import { isCreator } from "./rollout-creator.ts";
import { RolloutVerbDialog } from "./rollout-verb-dialog.tsx";
import { type RolloutVerb, verbsFor } from "./rollout-verbs.ts";

interface RolloutActionsProps {
  readonly rollout: Rollout;
  /** Hears of the rollout as it is after an act. */
  readonly changed: (rollout: Rollout) => void;
}

/** What can be done to a rollout in its state, with what it will do said before. */
export function RolloutActions({ rollout, changed }: RolloutActionsProps) {
  const session = useSession();
  const [asking, setAsking] = useState<RolloutVerb | undefined>();
  if (!session.can(RolloutService.method.pauseRollout)) return null;
  return (
    <>
      {verbsFor(rollout, isCreator(rollout, session.actor)).map((verb) => (
        <Button
          key={verb.name}
          size="sm"
          variant={verb.isMain ? "filled" : "default"}
          onClick={() => setAsking(verb)}
        >
          {verb.label(rollout)}
        </Button>
      ))}
      {asking !== undefined && (
        <RolloutVerbDialog
          rollout={rollout}
          verb={asking}
          changed={changed}
          close={() => setAsking(undefined)}
        />
      )}
    </>
  );
}
