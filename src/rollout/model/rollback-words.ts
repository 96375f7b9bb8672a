import { type Sql, sql } from "../../infra/database/sql.ts";

/** How many devices, in words. */
function devices(count: Sql): Sql {
  return sql`CASE ${count} WHEN 1 THEN '1 device' ELSE ${count} || ' devices' END`;
}

/** Missing versions that are named; a fleet is of few. */
const named = 20;

/**
 * Sets the alert of rollout $1 to what its rollback still needs, by its counters: a version to be released, a look at devices
 * that must not go back, or devices that are to be heard again. If it needs nothing any more, it takes such an alert away.
 */
export const alertRollbackSql = sql`
  WITH missing AS (
    SELECT count(*) AS devices, array_agg(DISTINCT to_version ORDER BY to_version) AS versions FROM device_updates
    WHERE rollout_id = $1::uuid AND failure_reason = 'ROLLBACK_TARGET_MISSING' AND retry_at IS NULL AND to_version <> ''
  ), due AS (
    SELECT concat_ws('; ',
      CASE WHEN m.devices > 0 THEN ${devices(sql`m.devices`)} || ' until version ' || array_to_string(m.versions[1:${named}], ', ') || ' is released' END,
      CASE WHEN rollback_blocked > m.devices THEN
        ${devices(sql`(rollback_blocked - m.devices)`)} || ' that must not be, as their updates say' END,
      CASE WHEN rollback_away > 0 THEN ${devices(sql`rollback_away`)} || ' until heard again' END) AS words,
      coalesce(m.versions[1:${named}], '{}') AS versions
    FROM rollouts, missing m WHERE id = $1::uuid
  )
  UPDATE rollouts SET updated_at = now(), alert = CASE words WHEN '' THEN '' ELSE 'not rolled back: ' || words END,
    missing_versions = due.versions
  FROM due WHERE id = $1::uuid AND (words <> '' OR alert LIKE 'not rolled back: %')`;
