import { RowArrays } from "../../infra/database/row-arrays.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { waysOutADay, waysOutSql } from "../model/way-out.ts";

/** An offer of the way out of a recall. */
interface RepeatedOffer {
  readonly deviceId: string;
  readonly rolloutId: string;
  readonly offeredAt: Date;
}

/**
 * Has devices that left a recalled version, or tried to, be offered the way out as if for the first time: the tries before count
 * as not made, with numbers below those of tries, so that each device counts once, by its latest try. Those that had their
 * {@link waysOutADay} stay as they are, and so do those that are at it, or are to be rolled back first.
 */
export async function renewTries(session: Session, offers: readonly RepeatedOffer[]): Promise<void> {
  if (offers.length === 0) return;
  await session.run(renewSql, [...repeated.values(offers), waysOutADay]);
}

const repeated = new RowArrays<RepeatedOffer>({
  device_id: ["uuid", ({ deviceId }) => deviceId],
  rollout_id: ["uuid", ({ rolloutId }) => rolloutId],
  offered_at: ["timestamptz", ({ offeredAt }) => offeredAt],
});

const renewSql = sql`
  WITH o AS MATERIALIZED (
    SELECT t.device_id, t.rollout_id, t.offered_at, (
        SELECT least(min(w.attempt), 0) FROM device_updates w
        WHERE w.device_id = t.device_id AND w.rollout_id = t.rollout_id AND w.action <> 'ROLLBACK') AS lowest
    FROM ${repeated.as(sql`t`)}
    WHERE ${waysOutSql(sql`t.device_id`, sql`t.rollout_id`, sql`t.offered_at`)} < $4::int
      AND NOT EXISTS (
        SELECT FROM device_updates b WHERE b.device_id = t.device_id
          AND (b.take_back_by IS NOT NULL OR b.rollout_id = t.rollout_id AND b.ended_at IS NULL))
  )
  UPDATE device_updates u SET attempt = o.lowest - u.attempt, retry_at = coalesce(u.retry_at, o.offered_at),
    updated_at = clock_timestamp()
  FROM o
  WHERE u.device_id = o.device_id AND u.rollout_id = o.rollout_id AND u.action <> 'ROLLBACK' AND u.attempt > 0
    AND u.ended_at IS NOT NULL`;
