import { recalledFirmwareSql } from "../../firmware/recalls.ts";
import { RowArrays } from "../../infra/database/row-arrays.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { devicesText } from "../model/devices-text.ts";
import type { Rollout } from "../model/rollout.ts";
import { recordRollout } from "../model/rollout-audit.ts";
import { makesOffers } from "../model/rollout-state.ts";
import {
  lockRollout,
  type RolloutTransaction,
  type RolloutTransactions,
} from "../model/rollout-transactions.ts";
import { newUpdateId } from "../model/update-id.ts";
import { type FollowingTry, insertTries } from "../proof/insert-tries.ts";
import { retryAt } from "../proof/next-try.ts";

/**
 * Offers devices that drifted the firmware again, as often as their rollouts' policies say: no more devices at once than may be
 * at the update, none that is at another one or that is pinned as excluded, and each after the wait of a further try.
 */
export async function healDrift(pool: Session, transactions: RolloutTransactions): Promise<void> {
  for (const { id } of await pool.query<{ id: string }>(healingSql)) {
    await transactions.run(async (tx) => heal(tx, await lockRollout(tx, id)));
  }
}

/** A device that may be healed. */
interface Healed {
  readonly deviceId: string;
  readonly id: string;
  /** How often it was before. */
  readonly heals: number;
}

async function heal(tx: RolloutTransaction, rollout: Rollout): Promise<void> {
  const { policy, rings, state } = rollout;
  if (!makesOffers(state) || policy.healDrift === 0) return;
  const atIt = rings.reduce((sum, { counters }) => sum + counters.inProgress, 0);
  const room = Math.min(batch, (policy.maxInProgress ?? Number.POSITIVE_INFINITY) - atIt);
  if (room <= 0) return;
  const healed = await tx.query<Healed>(healedSql, [rollout.id, policy.healDrift, room]);
  if (healed.length === 0) return;
  const tries = healed.map(({ deviceId, id, heals }) => {
    const notBefore = retryAt(policy.retryBackoffMs, heals, tx.now);
    return {
      deviceId,
      failedId: id,
      id: newUpdateId(tx.now, id),
      // Which boot it is in is not known here: any that shows the version will do.
      fromBootId: "",
      madeAt: tx.now,
      notBefore,
      deadlineAt: new Date(notBefore.getTime() + policy.deviceTimeoutMs),
    };
  });
  await tx.run(followedSql, followed.values(tries));
  await insertTries(tx, tries);
  await recordRollout(tx, rollout.id, {
    actor: "system:drift",
    action: "rollout.heal_drift",
    reason: `${devicesText(healed.length)} that fell back may install ${rollout.version} again`,
    details: { devices: String(healed.length) },
  });
  tx.changed(rollout.id);
}

/** Devices of a transaction. */
const batch = 1_000;

const healingSql = sql`
  SELECT r.id FROM rollouts r
  WHERE r.state IN ('RUNNING', 'COMPLETED') AND NOT r.is_deleted AND (r.policy->>'healDrift')::int > 0
    AND r.firmware_id NOT IN ${recalledFirmwareSql}
    AND EXISTS (SELECT FROM device_updates u
      WHERE u.rollout_id = r.id AND u.drifted_at IS NOT NULL AND u.retry_at IS NULL)
  ORDER BY r.id`;

/** Drifted devices of rollout $1 that were healed less than $2 times, at most $3. */
const healedSql = sql`
  SELECT * FROM (
    SELECT u.device_id AS "deviceId", u.id,
      (SELECT count(*) FROM device_updates h WHERE h.device_id = u.device_id AND h.rollout_id = u.rollout_id
        AND h.drifted_at IS NOT NULL AND h.retry_at IS NOT NULL)::int AS heals
    FROM device_updates u JOIN devices v ON v.id = u.device_id AND NOT v.is_deleted AND v.update_pin <> 'excluded'
      AND v.quarantined_at IS NULL AND v.blocked_at IS NULL
    WHERE u.rollout_id = $1::uuid AND u.drifted_at IS NOT NULL AND u.retry_at IS NULL AND u.state = 'SUCCEEDED'
      AND NOT EXISTS (
        SELECT FROM device_updates o
        WHERE o.device_id = u.device_id AND (o.ended_at IS NULL OR o.take_back_by IS NOT NULL))
  ) d
  WHERE heals < $2::int ORDER BY id LIMIT $3::int`;

const followed = new RowArrays<FollowingTry>({
  device_id: ["uuid", ({ deviceId }) => deviceId],
  id: ["uuid", ({ failedId }) => failedId],
  at: ["timestamptz", ({ notBefore }) => notBefore],
});

/** Devices no more count by these updates: other tries follow at those times. */
const followedSql = sql`
  UPDATE device_updates u SET retry_at = c.at, updated_at = now()
  FROM ${followed.as(sql`c`)}
  WHERE u.device_id = c.device_id AND u.id = c.id`;
