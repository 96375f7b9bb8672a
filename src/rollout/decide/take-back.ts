import { blockedAlertSql } from "../model/rollback-words.ts";
import type { Rollout } from "../model/rollout.ts";
import type { RolloutTransaction } from "../model/rollout-transactions.ts";
import { endTakenSql, insertRollbacksSql, supersedeSql } from "./rollback-sql.ts";
import { waitSql } from "./waiting-rollback-sql.ts";

/**
 * Takes the update back from these devices (ids separated by commas); counts them in the rollout. Those that are at an
 * update of another component are marked as waiting instead, and counted when they are told.
 */
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
  const [made] = await tx.query<{ due: number; total: number; failed: number }>(insertRollbacksSql, [
    rollout.id,
    deviceIds,
    rollout.product,
    firmwareId ?? rollout.policy.rollbackFirmwareId,
    now,
    deadline,
    rollout.component,
  ]);
  if (made === undefined) return;
  if (made.due > made.total) await tx.query(waitSql, [rollout.id, deviceIds, deadline]);
  if (made.total === 0) return;
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
