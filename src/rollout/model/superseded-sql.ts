import { type Sql, sql } from "../../infra/database/sql.ts";

/** Whether the update `u` is a first try, which can be made again as if it had not been. */
export const firstTrySql = sql`u.action <> 'ROLLBACK' AND u.attempt = 1`;

/**
 * What is set on the update `u` of a device whose place another one takes at a time. A first try counts as not made, so
 * that it can be made again later: it has a number below those of tries.
 */
export function supersededSql(at: Sql): Sql {
  return sql`state = 'SUPERSEDED', ended_at = ${at}, updated_at = now(),
    retry_at = CASE WHEN ${firstTrySql} THEN ${at} END,
    attempt = CASE WHEN ${firstTrySql} THEN (
      SELECT min(w.attempt) - 1 FROM device_updates w WHERE w.device_id = u.device_id AND w.rollout_id = u.rollout_id
        AND w.action = u.action AND w.firmware_id = u.firmware_id) ELSE u.attempt END`;
}
