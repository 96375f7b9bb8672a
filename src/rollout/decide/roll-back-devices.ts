import { alertRollbackSql } from "../model/rollback-words.ts";
import type { Rollout } from "../model/rollout.ts";
import { recordRollout } from "../model/rollout-audit.ts";
import type { RolloutTransaction } from "../model/rollout-transactions.ts";
import { endTakenSql, insertRollbacksSql, supersedeSql } from "./rollback-sql.ts";
import { leaveSql, waitSql } from "./waiting-rollback-sql.ts";

/**
 * Rolls the update back from these devices. Those that are at an update of another component are
 * marked as waiting instead, and count in the rollout when they are told.
 */
export async function rollBackDevices(
  tx: RolloutTransaction,
  rollout: Rollout,
  deviceIds: readonly string[],
  firmwareId: string | null,
  now: string,
): Promise<void> {
  await tx.run(endTakenSql, [rollout.id, deviceIds, now]);
  const target = firmwareId ?? rollout.policy.rollbackFirmwareId;
  const planned = [rollout.id, deviceIds, rollout.product, target, rollout.component, now];
  await tx.run(supersedeSql, planned);
  const deadline = new Date(tx.now.getTime() + rollout.policy.deviceTimeoutMs).toISOString();
  const [made] = await tx.query<MadeRollbacks>(insertRollbacksSql, [...planned, deadline]);
  if (made === undefined) return;
  const { stayed } = made;
  if (stayed.length > 0) await tx.run(leaveSql, [rollout.id, stayed]);
  if (made.due - stayed.length > made.total) {
    const others = deviceIds.filter((id) => !stayed.includes(id));
    await tx.run(waitSql, [rollout.id, others, deadline]);
  }
  if (made.failed === 0) return;
  await tx.run(alertRollbackSql, [rollout.id]);
  await recordRollout(tx, rollout.id, {
    actor: "system:rollback",
    action: "rollout.rollback_blocked",
    reason:
      "devices must not be rolled back: there is no version to go back to, or its security counter is too low",
    details: { devices: String(made.failed), of: String(made.total) },
  });
}

interface MadeRollbacks {
  /** Devices that have to go back. */
  readonly due: number;
  /** Those of them that were told, or cannot go back. */
  readonly total: number;
  /** Those of them that cannot go back. */
  readonly failed: number;
  /** Devices that cannot go back and never left. */
  readonly stayed: readonly string[];
}
