import type { Session } from "../../infra/database/session.ts";
import type { RolloutWarning } from "../model/foresight.ts";
import type { RolloutIndex } from "../offer/rollout-index.ts";
import type { Preview } from "../preview/preview-tally.ts";
import { deviceWarnings } from "./device-warnings.ts";
import { downgradeWarnings } from "./downgrade-warnings.ts";
import { otherRolloutWarnings } from "./other-rollouts.ts";
import { planWarnings } from "./plan-warnings.ts";
import { ringWarnings } from "./ring-warnings.ts";
import { rollbackWarnings } from "./rollback-warnings.ts";

/** What warnings are made of, beside a preview. */
export interface WarningParts {
  readonly pool: Session;
  readonly index: Pick<RolloutIndex, "candidates">;
  /** How often devices are asked to beat. */
  readonly heartbeatIntervalMs: number;
}

/** What to know before a previewed rollout starts, what weighs most first; at most 50. */
export async function rolloutWarnings(
  preview: Preview,
  { pool, index, heartbeatIntervalMs }: WarningParts,
): Promise<RolloutWarning[]> {
  const { rollout, waiting } = preview;
  const { kinds } = waiting;
  const others = new Set([...rollout.deviceTypes].flatMap((type) => index.candidates(type)));
  return [
    ...planWarnings(rollout, { nowMs: preview.countedAt.getTime(), heartbeatIntervalMs }),
    ...(await rollbackWarnings(pool, rollout, kinds)),
    ...downgradeWarnings(rollout, kinds),
    ...otherRolloutWarnings(rollout, [...others], kinds),
    ...ringWarnings(preview),
    ...deviceWarnings(preview),
  ].slice(0, maxWarnings);
}

const maxWarnings = 50;
