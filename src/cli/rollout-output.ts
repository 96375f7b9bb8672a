import { type Rollout, RolloutSchema, type VerbEffect } from "../../gen/ota/v1/rollout_pb.js";
import { required } from "./failure.ts";
import { renderRollout } from "./rollout-view.ts";
import type { Session } from "./session.ts";

/** A rollout as it is after a verb, and what the verb changed. */
export interface SteeredRollout {
  readonly rollout?: Rollout | undefined;
  readonly effect?: VerbEffect | undefined;
}

/** Shows the rollout of an answer in full, and says if it was as it was to be before. */
export function printRollout(session: Session, rollout: Rollout | undefined, unchanged = false): void {
  printSteered(session, { rollout });
  session.noteUnchanged(unchanged, "so it was already");
}

/** Shows the rollout of an answer in full, and what a verb changed. */
export function printSteered(session: Session, { rollout: answered, effect }: SteeredRollout): void {
  const rollout = required(answered, "a rollout");
  session.printEffect(RolloutSchema, rollout, effect, () =>
    renderRollout(session.terminal, rollout, Date.now()),
  );
}
