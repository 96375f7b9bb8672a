import type { Ring, Rollout } from "./rollout.ts";
import { type Decider, moveRing, moveRollout, requireState } from "./rollout-steps.ts";
import type { RolloutTransaction } from "./rollout-transactions.ts";

/** What taking a rollout back came to at once; what it comes to in the end is told by heartbeats. */
export interface RollbackPlan {
  /** Devices that took the update. */
  readonly total: number;
  /** Of these, devices that cannot be taken back. */
  readonly failed: number;
}

/**
 * Takes a rollout back, in a transaction that has it locked; the cost grows with the devices that it touched, not with the
 * fleet. Devices that did not begin to install are called off; updates of those that did are ended as ROLLED_BACK. Each
 * device that began to install, also one that failed or succeeded, gets a rollback to the version that it came from, if
 * the catalogue still has it and its security counter is not below the device's; otherwise a failed rollback with the
 * reason. Left out are devices that heartbeats showed to have gone back by themselves, and those that have since moved on
 * by another rollout. What another rollout has offered to them meanwhile gives way to the rollback.
 */
export async function rollBack(
  tx: RolloutTransaction,
  rollout: Rollout,
  by: Decider,
  failed?: Ring,
): Promise<RollbackPlan> {
  const state = requireState(rollout, "rollback");
  const now = tx.now.toISOString();
  if (failed !== undefined && failed.state !== "FAILED") await moveRing(tx, failed, "fail");
  await tx.query(endInstallsSql, [rollout.id, now]);
  await tx.query(supersedeSql, [rollout.id, now]);
  const deadline = new Date(tx.now.getTime() + rollout.policy.deviceTimeoutMs).toISOString();
  const [counts] = await tx.query<{ total: number; failed: number }>(insertSql, [
    rollout.id,
    rollout.product,
    now,
    deadline,
  ]);
  const plan = { total: counts?.total ?? 0, failed: counts?.failed ?? 0 };
  await tx.query(
    "UPDATE rollouts SET rollback_total = $2::bigint, rollback_failed = $3::bigint WHERE id = $1::uuid",
    [rollout.id, plan.total, plan.failed],
  );
  await moveRollout(tx, rollout, "rollback", state, by, {
    devices: String(plan.total),
    not_possible: String(plan.failed),
  });
  return plan;
}

/** Ends a rollback that has nothing left to do; the rollout must be as it is in the database. */
export async function finishRollback(tx: RolloutTransaction, rollout: Rollout): Promise<void> {
  const state = requireState(rollout, "finish_rollback");
  const { total, completed, failed } = rollout.rollback;
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
    { devices: String(total), completed: String(completed), failed: String(failed) },
  );
}

const endInstallsSql = `
  WITH ended AS (
    UPDATE device_updates SET ended_at = $2::timestamptz, updated_at = now(),
      state = CASE WHEN state IN ('OFFERED', 'DOWNLOADING', 'DOWNLOADED') THEN 'CANCELLED' ELSE 'ROLLED_BACK' END
    WHERE rollout_id = $1::uuid AND action = 'INSTALL' AND ended_at IS NULL
    RETURNING ring_id, state
  ), delta AS (
    SELECT ring_id, count(*) AS ended, count(*) FILTER (WHERE state = 'CANCELLED') AS cancelled FROM ended GROUP BY ring_id
  )
  UPDATE deployment_rings r SET in_progress_count = r.in_progress_count - d.ended,
    cancelled_count = r.cancelled_count + d.cancelled,
    rolled_back_count = r.rolled_back_count + d.ended - d.cancelled, updated_at = now()
  FROM delta d WHERE r.id = d.ring_id`;

/** The installs of rollout $1 whose devices have to be taken back. */
const takenSql = `
  SELECT i.* FROM device_updates i JOIN devices v ON v.id = i.device_id AND NOT v.is_deleted
  WHERE i.rollout_id = $1::uuid AND i.action = 'INSTALL' AND i.installing_at IS NOT NULL
    AND coalesce(i.failure_reason, '') <> 'DEVICE_REVERTED'
    AND NOT EXISTS (
      SELECT 1 FROM device_updates o
      WHERE o.device_id = i.device_id AND o.rollout_id <> i.rollout_id AND o.action = 'INSTALL'
        AND o.offered_at > i.offered_at AND o.state IN ('INSTALLING', 'REBOOTING', 'VERIFYING', 'SUCCEEDED'))`;

/** Open updates of other rollouts: a device has one open update. */
const supersedeSql = `
  WITH taken AS (${takenSql}), ended AS (
    UPDATE device_updates u SET state = 'SUPERSEDED', ended_at = $2::timestamptz, updated_at = now()
    FROM taken t
    WHERE u.device_id = t.device_id AND u.rollout_id <> t.rollout_id AND u.ended_at IS NULL
    RETURNING u.rollout_id, u.ring_id, u.action
  ), rings AS (
    UPDATE deployment_rings r SET in_progress_count = r.in_progress_count - d.ended,
      cancelled_count = r.cancelled_count + d.ended, updated_at = now()
    FROM (SELECT ring_id, count(*) AS ended FROM ended WHERE action = 'INSTALL' GROUP BY ring_id) d
    WHERE r.id = d.ring_id
  )
  UPDATE rollouts r SET rollback_failed = r.rollback_failed + d.ended, updated_at = now()
  FROM (SELECT rollout_id, count(*) AS ended FROM ended WHERE action = 'ROLLBACK' GROUP BY rollout_id) d
  WHERE r.id = d.rollout_id`;

/** A UUID of version 7 (RFC 9562, section 5.7), which PostgreSQL makes by itself only from version 18 on. */
const uuidV7Sql = `
  encode(set_bit(set_bit(
    overlay(uuid_send(gen_random_uuid())
      placing substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
    52, 1), 53, 1), 'hex')::uuid`;

/**
 * The boot that the device must leave to be back: the one that it is in, if heartbeats showed the new version; any, if it
 * gave up before; else the one before the install, whose reboot may be on its way.
 */
const insertSql = `
  WITH taken AS (${takenSql}), plan AS (
    SELECT t.device_id, t.rollout_id, t.ring_id, t.to_version, t.from_version, f.id AS target_id,
      t.firmware_id AS taken_id,
      CASE WHEN t.proven_at IS NOT NULL THEN coalesce(s.boot_id, '')
        WHEN t.state = 'FAILED' THEN '' ELSE t.from_boot_id END AS boot_id,
      CASE WHEN f.id IS NULL THEN 'ROLLBACK_TARGET_MISSING'
        WHEN f.security_counter < coalesce(s.security_counter, 0) THEN 'ROLLBACK_BLOCKED_BY_SECURITY_COUNTER' END AS problem,
      f.security_counter AS target_counter, s.security_counter AS device_counter
    FROM taken t
    LEFT JOIN device_state s ON s.device_id = t.device_id
    LEFT JOIN firmware_updates f ON f.product = $2 AND f.version = t.from_version AND f.state = 'RELEASED'
      AND NOT f.is_deleted
    ORDER BY t.device_id
  ), made AS (
    INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
      from_firmware_id, to_version, from_boot_id, failure_reason, failure_message, offered_at, deadline_at, ended_at)
    SELECT device_id, ${uuidV7Sql}, rollout_id, ring_id, coalesce(target_id, taken_id), 'ROLLBACK',
      CASE WHEN problem IS NULL THEN 'OFFERED' ELSE 'FAILED' END, to_version, taken_id, from_version, boot_id, problem,
      CASE problem
        WHEN 'ROLLBACK_TARGET_MISSING' THEN 'the catalogue has no released version ' || from_version
        WHEN 'ROLLBACK_BLOCKED_BY_SECURITY_COUNTER' THEN 'the security counter of ' || from_version || ' is ' ||
          target_counter || ', the device is at ' || device_counter END,
      $3::timestamptz, $4::timestamptz, CASE WHEN problem IS NOT NULL THEN $3::timestamptz END
    FROM plan
    ON CONFLICT (device_id, rollout_id, action) DO NOTHING
    RETURNING state
  )
  SELECT count(*)::float8 AS total, (count(*) FILTER (WHERE state = 'FAILED'))::float8 AS failed FROM made`;
