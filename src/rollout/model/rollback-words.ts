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
 * The versions come from an index, one look-up each: a rollout of a million devices sets it with every batch of them.
 */
export const alertRollbackSql = sql`
  WITH RECURSIVE missing AS (
    SELECT '' AS version, 0 AS place
    UNION ALL
    SELECT (SELECT min(u.to_version) FROM device_updates u
      WHERE u.rollout_id = $1::uuid AND u.failure_reason = 'ROLLBACK_TARGET_MISSING' AND u.retry_at IS NULL
        AND u.to_version > m.version), m.place + 1
    FROM missing m WHERE m.version IS NOT NULL AND m.place < ${named}
  ), named AS (
    SELECT coalesce(array_agg(version ORDER BY place), '{}') AS versions FROM missing WHERE version <> ''
  ), due AS (
    SELECT concat_ws('; ',
      CASE WHEN rollback_unreleased > 0 THEN ${devices(sql`rollback_unreleased`)} || ' until version ' ||
        array_to_string(named.versions, ', ') || ' is released' END,
      CASE WHEN rollback_blocked > rollback_unreleased THEN
        ${devices(sql`(rollback_blocked - rollback_unreleased)`)} || ' that must not be, as their updates say' END,
      CASE WHEN rollback_away > 0 THEN ${devices(sql`rollback_away`)} || ' until heard again' END) AS words,
      named.versions
    FROM rollouts, named WHERE id = $1::uuid
  )
  UPDATE rollouts SET updated_at = now(), alert = CASE words WHEN '' THEN '' ELSE 'not rolled back: ' || words END,
    missing_versions = due.versions
  FROM due WHERE id = $1::uuid AND (words <> '' OR alert LIKE 'not rolled back: %')`;
