import type { Cause } from "../../call/cause.ts";
import { sql } from "../../infra/database/sql.ts";
import { alertRollbackSql } from "../model/rollback-words.ts";
import type { Rollout } from "../model/rollout.ts";
import { recordRollout } from "../model/rollout-audit.ts";
import type { RolloutTransaction } from "../model/rollout-transactions.ts";
import { rollBackDevices } from "./roll-back-devices.ts";
import { planWaiting } from "./rollback.ts";
import { assertRollbackTarget } from "./rollback-target.ts";
import { moveRollout, requireState } from "./rollout-verbs.ts";

/** Why devices are rolled back again, and to what; by default to what each came from. */
interface Again {
  readonly why: string;
  readonly firmwareId?: string | undefined;
  /** `system:rollback` unless an operator asked for it. */
  readonly actor?: string | undefined;
}

/**
 * Rolls devices back again whose rollback is over, in a transaction that has the rollout locked: that rollback counts as not
 * made, and they are rolled back as if for the first time. A rollout that was ROLLED_BACK is ROLLING_BACK until they are back.
 * Returns how many have to go back now; the others were moved on by another rollout, or must not.
 */
export async function rollBackAgain(
  tx: RolloutTransaction,
  rollout: Rollout,
  deviceIds: readonly string[],
  { why, firmwareId, actor = "system:rollback" }: Again,
): Promise<number> {
  await tx.run(unmakeSql, [rollout.id, deviceIds, tx.now.toISOString()]);
  await rollBackDevices(tx, rollout, deviceIds, firmwareId ?? null, tx.now.toISOString());
  await planWaiting(tx, rollout);
  await tx.run(alertRollbackSql, [rollout.id]);
  const [row] = await tx.query<{ devices: number }>(dueSql, [rollout.id, deviceIds]);
  const devices = row?.devices ?? 0;
  if (devices > 0 && rollout.state === "ROLLED_BACK") {
    const state = requireState(rollout, "reopen_rollback");
    const by = { actor, reason: rollout.stateReason };
    await moveRollout(tx, rollout, "reopen_rollback", state, by, { devices: String(devices), why });
  } else if (devices > 0) {
    await recordRollout(tx, rollout.id, {
      actor,
      action: "rollout.devices_taken_back",
      reason: why,
      details: { devices: String(devices) },
    });
  }
  tx.changed(rollout.id);
  return devices;
}

/**
 * Rolls back again, at an operator's word, what failed of a rollback that is over: what devices failed at themselves, and with
 * another firmware to go back to also what could not be made for want of the first one; at most {@link maxAgain} devices at
 * once. Returns how many have to go back now.
 */
export async function rollBackFailed(
  tx: RolloutTransaction,
  rollout: Rollout,
  by: Cause,
  firmwareId: string | undefined,
): Promise<number> {
  const rows = await tx.query<{ device_id: string }>(failedSql, [
    rollout.id,
    firmwareId !== undefined,
    maxAgain,
  ]);
  if (rows.length === 0) return 0;
  if (firmwareId !== undefined) await assertRollbackTarget(tx, rollout, firmwareId);
  const deviceIds = rows.map(({ device_id }) => device_id);
  return await rollBackAgain(tx, rollout, deviceIds, { actor: by.actor, why: by.reason, firmwareId });
}

/** Some seconds, in which the rollout's devices wait with their reports. */
const maxAgain = 10_000;

const failedSql = sql`
  SELECT u.device_id FROM device_updates u JOIN devices v ON v.id = u.device_id AND NOT v.is_deleted
  WHERE u.rollout_id = $1::uuid AND u.action = 'ROLLBACK' AND u.state = 'FAILED' AND u.retry_at IS NULL
    AND u.offered_at > coalesce(v.board_since, '-infinity')
    AND (u.failure_reason NOT LIKE 'ROLLBACK\\_%' OR $2::boolean AND u.failure_reason LIKE 'ROLLBACK\\_TARGET\\_%')
  ORDER BY u.device_id LIMIT $3::int`;

/** Makes the rollbacks of devices $2 of rollout $1 that are over count as not made: they get numbers below those of tries. */
const unmakeSql = sql`
  UPDATE device_updates u SET attempt = low.attempt - u.attempt, retry_at = coalesce(u.retry_at, $3::timestamptz),
    updated_at = now()
  FROM (
    SELECT device_id, least(min(attempt), 0) AS attempt FROM device_updates
    WHERE rollout_id = $1::uuid AND device_id = ANY ($2::uuid[]) AND action = 'ROLLBACK' GROUP BY device_id
  ) low
  WHERE u.device_id = low.device_id AND u.rollout_id = $1::uuid AND u.action = 'ROLLBACK' AND u.attempt > 0
    AND u.ended_at IS NOT NULL`;

/** How many of devices $2 are on their way back by rollout $1, or wait for it. */
const dueSql = sql`
  SELECT count(*)::float8 AS devices FROM device_updates
  WHERE rollout_id = $1::uuid AND device_id = ANY ($2::uuid[])
    AND (action = 'ROLLBACK' AND ended_at IS NULL OR take_back_by IS NOT NULL)`;
