import { nothingToDo, type OtaError } from "../../errors.ts";
import type { Ring, Rollout } from "../model/rollout.ts";
import { isInForce } from "../model/rollout-state.ts";
import {
  lockRollout,
  type RolloutTransaction,
  type RolloutTransactions,
  readRollout,
} from "../model/rollout-transactions.ts";
import { type SteeredRollout, steered, tookBack } from "../model/verb-effect.ts";
import { rollBackFailed } from "./roll-back-again.ts";
import { rollBack, rollBackRing } from "./rollback.ts";
import { assertRollbackTarget, assertSameTarget } from "./rollback-target.ts";
import { assertNoWayOut, requireRing } from "./rollout-verbs.ts";
import type { VerbRequest } from "./verb-request.ts";

/**
 * Rolls a rollout back at an operator's word, to the named firmware if one is: `ROLLBACK_TARGET_REFUSED` if that cannot be.
 * `NOTHING_TO_DO` if no device is at the update or has it from this rollout, unless that is so because all were told to go
 * back before. What failed of a rollback that is over is made again, as far as it can be.
 */
export async function rollBackAll(
  tx: RolloutTransaction,
  { id, firmwareId, ...by }: VerbRequest & { readonly firmwareId?: string | undefined },
): Promise<SteeredRollout> {
  const before = assertNoWayOut(await lockRollout(tx, id), "rollback");
  if (isInForce(before.state, "rollback")) {
    if (before.state === "ROLLED_BACK" && (await rollBackFailed(tx, before, by, firmwareId)) > 0)
      return steered(before, await readRollout(tx, id));
    if (firmwareId !== undefined) await assertSameTarget(tx, before, firmwareId);
    return steered(before, before);
  }
  if (firmwareId !== undefined) await assertRollbackTarget(tx, before, firmwareId);
  await rollBack(tx, before, by, { firmwareId });
  const after = steered(before, await readRollout(tx, id));
  const toldBefore = before.rollback.total + before.rollback.waiting > 0;
  if (!tookBack(after.effect) && !toldBefore) throw nobodyHasIt(before, "the rollout", before.rings);
  return after;
}

/**
 * Rolls the update back from one ring's devices at an operator's word, and pauses the rollout. A ring of which that was done
 * stays as it is; one that was never open is refused, and one none of whose devices is at the update or has it from this
 * rollout: `NOTHING_TO_DO`.
 */
export async function rollBackOneRing(
  transactions: RolloutTransactions,
  { id, ring: name, ...by }: VerbRequest & { readonly ring: string },
): Promise<SteeredRollout> {
  try {
    return await transactions.run(async (tx) => {
      const before = assertNoWayOut(await lockRollout(tx, id), "rollback");
      const ring = requireRing(before.rings, name);
      await rollBackRing(tx, before, ring, by);
      const after = steered(before, await readRollout(tx, id));
      if (tookBack(after.effect)) return after;
      if (before.state === "PAUSED" && ring.state === "FAILED") throw new AsBefore(before);
      throw nobodyHasIt(before, `ring ${name}`, [ring]);
    });
  } catch (error) {
    if (error instanceof AsBefore) return steered(error.rollout, error.rollout);
    throw error;
  }
}

/** Undoes a transaction that turned out to have nothing to do. */
class AsBefore extends Error {
  readonly rollout: Rollout;

  constructor(rollout: Rollout) {
    super("nothing to do");
    this.rollout = rollout;
  }
}

function nobodyHasIt({ id, version }: Rollout, where: string, rings: readonly Ring[]): OtaError {
  const began = rings.reduce((sum, { counters }) => sum + counters.began + counters.rolledBack, 0);
  const why =
    began === 0
      ? `no device of ${where} has begun to install ${version}`
      : `no device of ${where} has ${version} from it any more, or all were told to go back`;
  return nothingToDo(`${why}; pause the rollout to make no more offers, or abort it to stop it for good`, {
    id,
    version,
  });
}
