import { illegalTransition } from "../errors.ts";
import { endTakenSql, insertRollbacksSql, supersedeSql } from "./rollback-sql.ts";
import { blockedAlertSql } from "./rollback-words.ts";
import type { StoredRollbackPlan } from "./rollout.entity.ts";
import type { Ring, Rollout } from "./rollout.ts";
import { type Decider, moveRing, moveRollout, requireState } from "./rollout-steps.ts";
import type { RolloutTransaction } from "./rollout-transactions.ts";

/**
 * Begins to take a rollout back, in a transaction that has it locked. From then on it makes no offers, and its devices are
 * told step by step: see {@link stepRollback}. The first step is part of this transaction, so that a small rollout is done
 * at once. `firmwareId` names what to go back to; by default what each device came from.
 */
export async function rollBack(
  tx: RolloutTransaction,
  rollout: Rollout,
  by: Decider,
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
  await stepRollback(tx, rollout, { ringIds: null, firmwareId: firmwareId ?? null, cursor: null });
}

/**
 * Tells the next devices of a rollout that they have to go back, at most {@link devicesPerStep}, and remembers how far it
 * got in the same transaction: a step that does not commit never was, and two replicas take turns. Returns whether all are
 * told. The rollout must be locked.
 *
 * Of each device the newest try counts. If it is open, it is called off or, once installing, ended as ROLLED_BACK. A device
 * that began to install, also one that failed or succeeded, gets a rollback to the version that it came from, or to the
 * one that the plan names, if that is released, fits the device, has not been rolled back itself and its security counter
 * is not below the device's; otherwise a failed rollback with the reason. Left out are devices that heartbeats showed to
 * have gone back by themselves, and those that have since moved on by another rollout. What another rollout has offered to
 * them meanwhile gives way to the rollback.
 */
export async function stepRollback(
  tx: RolloutTransaction,
  rollout: Rollout,
  plan: Readonly<StoredRollbackPlan>,
): Promise<boolean> {
  const now = tx.now.toISOString();
  const rows = await tx.query<{ id: string; device_id: string }>(nextSql, [
    rollout.id,
    plan.ringIds?.join(",") ?? null,
    plan.cursor,
    devicesPerStep,
  ]);
  if (rows.length > 0) {
    const deviceIds = rows.map(({ device_id }) => device_id).join(",");
    await takeBack(tx, rollout, deviceIds, plan.firmwareId, now);
  }
  const last = rows.at(-1);
  const done = rows.length < devicesPerStep || last === undefined;
  const next: StoredRollbackPlan | null = done ? null : { ...plan, cursor: last.id };
  await tx.query("UPDATE rollouts SET rollback_plan = $2::jsonb, updated_at = now() WHERE id = $1::uuid", [
    rollout.id,
    next === null ? null : JSON.stringify(next),
  ]);
  return done;
}

/** Takes the update back from one ring's devices and pauses the rollout, step by step like {@link rollBack}. */
export async function rollBackRing(
  tx: RolloutTransaction,
  rollout: Rollout,
  ring: Ring,
  by: Decider,
): Promise<void> {
  const state = requireState(rollout, "rollback_ring");
  if (ring.state === "WAITING") throw illegalTransition("ring", "roll back", ring.state, []);
  if (ring.state !== "FAILED") await moveRing(tx, ring, "fail");
  await moveRollout(tx, rollout, "rollback_ring", state, by, { ring: ring.name });
  const under = rollout.rollbackPlan?.ringIds ?? [];
  await stepRollback(tx, rollout, {
    ringIds: [...new Set([...under, ring.id])],
    firmwareId: null,
    cursor: null,
  });
}

/** Takes the update back from these devices (ids separated by commas); counts them in the rollout. */
export async function takeBack(
  tx: RolloutTransaction,
  rollout: Rollout,
  deviceIds: string,
  firmwareId: string | null,
  now: string,
): Promise<void> {
  await tx.query(endTakenSql, [rollout.id, deviceIds, now]);
  await tx.query(supersedeSql, [rollout.id, deviceIds, now]);
  const deadline = new Date(tx.now.getTime() + rollout.policy.deviceTimeoutMs).toISOString();
  const [made] = await tx.query<{ total: number; failed: number }>(insertRollbacksSql, [
    rollout.id,
    deviceIds,
    rollout.product,
    firmwareId ?? rollout.policy.rollbackFirmwareId,
    now,
    deadline,
    rollout.component,
  ]);
  if (made === undefined || made.total === 0) return;
  // What fails at once must not be taken back.
  await tx.query(
    `UPDATE rollouts SET rollback_total = rollback_total + $2::int, rollback_failed = rollback_failed + $3::int,
       rollback_blocked = rollback_blocked + $3::int, updated_at = now(),
       alert = CASE WHEN $3::int > 0 THEN ${blockedAlertSql("rollback_blocked + $3::int")} ELSE alert END
     WHERE id = $1::uuid`,
    [rollout.id, made.total, made.failed],
  );
  if (made.failed === 0) return;
  await tx.audit.record(tx.em, {
    actor: "system:rollback",
    action: "rollout.rollback_blocked",
    resourceType: "rollout",
    resourceId: rollout.id,
    reason:
      "devices must not be taken back: there is no version to go back to, or its security counter is too low",
    details: { devices: String(made.failed), of: String(made.total) },
  });
}

/** Whether nothing is left of a rollback that is under way. */
export function isRolledBack({ rollbackPlan, rollback }: Rollout): boolean {
  return rollbackPlan === undefined && rollback.completed + rollback.failed >= rollback.total;
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
      // What was taken back is still why it was.
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
const devicesPerStep = 2_000;

/** The next devices by the ids of their updates; further tries of a device come again and find nothing left to do. */
const nextSql = `
  SELECT u.id, u.device_id FROM device_updates u
  WHERE u.rollout_id = $1::uuid AND u.action <> 'ROLLBACK'
    AND ($2::text IS NULL OR u.ring_id = ANY (string_to_array($2::text, ',')::uuid[]))
    AND ($3::uuid IS NULL OR u.id > $3::uuid)
  ORDER BY u.id LIMIT $4::int`;
