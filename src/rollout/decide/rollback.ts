import type { Cause } from "../../call/cause.ts";
import { illegalTransition } from "../../errors.ts";
import { sql } from "../../infra/database/sql.ts";
import type { StoredRollbackPlan } from "../model/rollout.entity.ts";
import type { Ring, Rollout } from "../model/rollout.ts";
import type { RolloutTransaction } from "../model/rollout-transactions.ts";
import { rollBackDevices } from "./roll-back-devices.ts";
import { moveRing, moveRollout, requireState } from "./rollout-verbs.ts";
import { anyWaitingSql, giveUpSql, nextWaitingSql, unmarkSql } from "./waiting-rollback-sql.ts";

/**
 * What a step of a rollback did. `more`: others can be told at once; `told`: all were told but those that wait for their
 * update of another component to end; `waiting`: these still wait, and nothing changed; `done`: all are told.
 */
type RollbackOutcome = "more" | "told" | "waiting" | "done";

/**
 * Begins to roll a rollout back, in a transaction that has it locked. From then on it makes no offers, and its devices are
 * told step by step: see {@link continueRollback}. The first step is part of this transaction, so that a small rollout is done
 * at once. `firmwareId` names what to go back to; by default what each device came from.
 */
export async function rollBack(
  tx: RolloutTransaction,
  rollout: Rollout,
  by: Cause,
  {
    failed,
    firmwareId,
  }: { readonly failed?: Ring | undefined; readonly firmwareId?: string | null | undefined } = {},
): Promise<void> {
  const state = requireState(rollout, "rollback");
  if (failed !== undefined && failed.state !== "FAILED") await moveRing(tx, failed, "fail");
  await moveRollout(tx, rollout, "rollback", state, by, {
    ...(failed === undefined ? {} : { ring: failed.name }),
    ...(firmwareId ? { firmware_id: firmwareId } : {}),
  });
  await continueRollback(tx, rollout, { ringIds: null, firmwareId: firmwareId ?? null, cursor: null });
}

/**
 * Tells the next devices of a rollout that they have to go back, at most {@link devicesPerBatch}, and remembers how far it
 * got in the same transaction: a step that does not commit never was, and two replicas take turns. The rollout must be
 * locked.
 *
 * Of each device the newest try counts. If it is open, it is cancelled or, once installing, ended as ROLLED_BACK. A device
 * that began to install, also one that failed or succeeded, gets a rollback to the version that it came from, or to the
 * one that the plan names, if that is released, fits the device, has not been rolled back itself and its security counter
 * is not below the device's; otherwise a failed rollback with the reason. Left out are devices that heartbeats showed to
 * have gone back by themselves, and those that another rollout of the same component has moved on since. What such a rollout
 * has offered to them meanwhile gives way to the rollback; but an update or a rollback of another component goes on, and the
 * device is told when that is over. It waits for as long as a device may take for an update; then its rollback has failed as
 * `DEVICE_BUSY`.
 */
export async function continueRollback(
  tx: RolloutTransaction,
  rollout: Rollout,
  plan: Readonly<StoredRollbackPlan>,
): Promise<RollbackOutcome> {
  if (plan.waiting === true) return await continueWaiting(tx, rollout, plan);
  const now = tx.now.toISOString();
  const rows = await tx.query<{ id: string; device_id: string }>(nextSql, [
    rollout.id,
    plan.ringIds ?? null,
    plan.cursor,
    devicesPerBatch,
  ]);
  if (rows.length > 0) {
    const deviceIds = rows.map(({ device_id }) => device_id);
    await rollBackDevices(tx, rollout, deviceIds, plan.firmwareId, now);
  }
  const last = rows.at(-1);
  if (rows.length === devicesPerBatch && last !== undefined) {
    await store(tx, rollout, { ...plan, cursor: last.id });
    return "more";
  }
  const waiting = await anyWaiting(tx, rollout);
  await store(tx, rollout, waiting ? { ...plan, waiting: true } : null);
  return waiting ? "told" : "done";
}

/** Goes on with the devices that wait, of a rollout that was just told to roll one back, once they are free. */
export async function planWaiting(tx: RolloutTransaction, rollout: Rollout): Promise<void> {
  if (rollout.rollbackPlan !== undefined || !(await anyWaiting(tx, rollout))) return;
  await store(tx, rollout, { ringIds: [], firmwareId: null, cursor: null, waiting: true });
}

/** Tells the devices that waited and are free now, and gives those up that waited for too long. */
async function continueWaiting(
  tx: RolloutTransaction,
  rollout: Rollout,
  plan: Readonly<StoredRollbackPlan>,
): Promise<RollbackOutcome> {
  const now = tx.now.toISOString();
  const { deviceTimeoutMs } = rollout.policy;
  // Of the time until which devices wait only that counts in which they could be heard.
  const late = new Date(tx.ago(deviceTimeoutMs).getTime() + deviceTimeoutMs).toISOString();
  const rows = await tx.query<{ device_id: string }>(nextWaitingSql, [rollout.id, late, devicesPerBatch]);
  if (rows.length > 0) {
    const deviceIds = rows.map(({ device_id }) => device_id);
    // Also the late ones, for they may have become free just now.
    await rollBackDevices(tx, rollout, deviceIds, plan.firmwareId, now);
    await tx.run(giveUpSql, [rollout.id, deviceIds, now, late]);
    await tx.run(unmarkSql, [rollout.id, deviceIds]);
  }
  if (rows.length === devicesPerBatch) return "more";
  if (await anyWaiting(tx, rollout)) return rows.length > 0 ? "told" : "waiting";
  await store(tx, rollout, null);
  return "done";
}

async function anyWaiting(tx: RolloutTransaction, rollout: Rollout): Promise<boolean> {
  const [row] = await tx.query<{ waits: boolean }>(anyWaitingSql, [rollout.id]);
  return row?.waits === true;
}

async function store(
  tx: RolloutTransaction,
  rollout: Rollout,
  plan: Readonly<StoredRollbackPlan> | null,
): Promise<void> {
  await tx.run(planSql, [rollout.id, plan === null ? null : JSON.stringify(plan)]);
}

/** Rolls the update back from one ring's devices and pauses the rollout, step by step like {@link rollBack}. */
export async function rollBackRing(
  tx: RolloutTransaction,
  rollout: Rollout,
  ring: Ring,
  by: Cause,
): Promise<void> {
  const state = requireState(rollout, "rollback_ring");
  if (ring.state === "WAITING") throw illegalTransition("ring", "roll back", ring.state, []);
  if (ring.state !== "FAILED") await moveRing(tx, ring, "fail");
  await moveRollout(tx, rollout, "rollback_ring", state, by, { ring: ring.name });
  const under = rollout.rollbackPlan?.ringIds ?? [];
  await continueRollback(tx, rollout, {
    ringIds: [...new Set([...under, ring.id])],
    firmwareId: null,
    cursor: null,
  });
}

/** Ends a rollback that has nothing left to do; the rollout must be as it is in the database. */
export async function finishRollback(tx: RolloutTransaction, rollout: Rollout): Promise<void> {
  const state = requireState(rollout, "finish_rollback");
  const { total, completed, failed, blocked } = rollout.rollback;
  await moveRollout(
    tx,
    rollout,
    "finish_rollback",
    state,
    {
      actor: "system:rollback",
      // What was rolled back is still why it was.
      reason: rollout.stateReason,
    },
    {
      devices: String(total),
      completed: String(completed),
      failed: String(failed),
      blocked: String(blocked),
    },
  );
}

/** Devices of a step: some tenths of a second, in which the rollout's devices wait with their reports. */
const devicesPerBatch = 2_000;

const planSql = sql`UPDATE rollouts SET rollback_plan = $2::jsonb, updated_at = now() WHERE id = $1::uuid`;

/** The next devices by the ids of their updates; further tries of a device come again and find nothing left to do. */
const nextSql = sql`
  SELECT u.id, u.device_id FROM device_updates u
  WHERE u.rollout_id = $1::uuid AND u.action <> 'ROLLBACK'
    AND ($2::uuid[] IS NULL OR u.ring_id = ANY ($2::uuid[]))
    AND ($3::uuid IS NULL OR u.id > $3::uuid)
  ORDER BY u.id LIMIT $4::int`;
