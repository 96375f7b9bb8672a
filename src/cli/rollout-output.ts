import { type Rollout, RolloutSchema } from "../../gen/ota/v1/rollout_pb.js";
import { CliError, exitCodes } from "./failure.ts";
import { renderRollout } from "./rollout-view.ts";
import type { Session } from "./session.ts";

/** Shows the rollout of an answer in full, and says if it was as it was to be before. */
export function printRollout(session: Session, rollout: Rollout | undefined, unchanged = false): void {
  if (rollout === undefined) throw new CliError(exitCodes.failure, "the service answered without a rollout");
  session.print(RolloutSchema, rollout, () => renderRollout(session.terminal, rollout, Date.now()));
  if (unchanged && !session.json) session.terminal.note("\nNothing changed: so it was already.");
}
