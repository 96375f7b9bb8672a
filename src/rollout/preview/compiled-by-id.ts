import { notFound } from "../../errors.ts";
import type { Session } from "../../infra/database/session.ts";
import { readRollout, requireUnarchived } from "../model/rollout-transactions.ts";
import type { RolloutIndex } from "../offer/rollout-index.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";

/** Reads and compiles a rollout in any state. `NOT_FOUND` if there is none, `ILLEGAL_TRANSITION` if it is archived. */
export async function compiledById(
  pool: Session,
  index: Pick<RolloutIndex, "firmware" | "compile">,
  rolloutId: string,
): Promise<CompiledRollout> {
  const rollout = requireUnarchived(await readRollout(pool, rolloutId));
  const firmware = await index.firmware(rollout.firmwareId);
  if (firmware === undefined) throw notFound("firmware", rollout.firmwareId);
  return await index.compile(rollout, firmware);
}
