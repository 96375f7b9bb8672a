import type { Session } from "../../infra/database/session.ts";
import { type Sql, sql } from "../../infra/database/sql.ts";
import type { Standing } from "./standing.ts";

/** Reads what devices were last proven to run, and what they run: for firmware and each application that they installed. */
export function readStandings(session: Session, deviceIds: readonly string[]): Promise<Standing[]> {
  return session.query<Standing>(standingsSql, [deviceIds]);
}

/** An update whose device was known to have drifted. */
export interface DriftedUpdate {
  readonly id: string;
  readonly deviceId: string;
  readonly rolloutId: string;
}

/** Reads the updates of these devices that are marked as drifted. */
export function readDrifted(session: Session, deviceIds: readonly string[]): Promise<DriftedUpdate[]> {
  return session.query<DriftedUpdate>(driftedSql, [deviceIds]);
}

/** How often the device of an update was rolled back from its rollout in vain, where `update` is the alias of the update. */
export function returnsSql(update: Sql): Sql {
  return sql`(SELECT count(*)::int FROM device_updates x
    WHERE x.device_id = ${update}.device_id AND x.rollout_id = ${update}.rollout_id AND x.action = 'ROLLBACK'
      AND x.attempt <= 0 AND x.state IN ('SUCCEEDED', 'TIMED_OUT'))`;
}

/** What the device with state `s` reports to run of what the firmware `t` updates; empty if it says nothing of it. */
export const runningSql = sql`
  coalesce(CASE t.component WHEN '' THEN s.firmware_version ELSE s.components ->> t.component END, '')`;

/**
 * Of each device and what it runs: the last install of all, and the last one that was not rolled back with success. What a
 * board did that is gone says nothing of the one in its place.
 */
const standingsSql = sql`
  SELECT t.device_id AS "deviceId", t.id AS "updateId", t.rollout_id AS "rolloutId", r.state AS "rolloutState",
    t.product, t.version, t.reported_versions AS "reportedVersions", t.is_newest AS "isNewest",
    t.state = 'SUCCEEDED' AND t.action = 'INSTALL' AND t.retry_at IS NULL AS succeeded, t.ended_at IS NULL AS "isOpen",
    coalesce(t.drifted_to, '') AS "driftedTo", t.rollback, t.returns, coalesce(t.is_away, false) AS "isAway",
    coalesce(s.last_seen_at < greatest(t.proven_at, t.rollback_proven_at), false) AS "isBehind",
    EXISTS (SELECT FROM rollouts n WHERE n.firmware_id = r.firmware_id AND n.id > r.id AND n.started_at IS NOT NULL
      AND NOT n.is_deleted) AS "isBroughtAgain",
    ${runningSql} AS running
  FROM unnest($1::uuid[]) AS d (id)
  JOIN devices v ON v.id = d.id AND NOT v.is_deleted
  JOIN device_state s ON s.device_id = d.id
  CROSS JOIN LATERAL (
    SELECT DISTINCT ON (i.component, i.rollback IS NOT DISTINCT FROM 'SUCCEEDED') i.*
    FROM (
      SELECT u.*, f.product, f.component, f.version, f.reported_versions, b.state AS rollback, b.proven_at AS rollback_proven_at, b.state = 'TIMED_OUT' AND b.heard_at IS NULL AS is_away,
        u.id = last_value(u.id) OVER (PARTITION BY f.component ORDER BY u.id
          ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS is_newest,
        ${returnsSql(sql`u`)} AS returns
      FROM device_updates u JOIN firmware_updates f ON f.id = u.firmware_id
      LEFT JOIN LATERAL (
        SELECT k.state, k.heard_at, k.proven_at FROM device_updates k
        WHERE k.device_id = u.device_id AND k.rollout_id = u.rollout_id AND k.action = 'ROLLBACK' AND k.attempt > 0
        ORDER BY k.id DESC LIMIT 1
      ) b ON true
      WHERE u.device_id = d.id AND u.action <> 'ROLLBACK' AND u.attempt > 0 AND u.installing_at IS NOT NULL
        AND u.offered_at > coalesce(v.board_since, '-infinity')
    ) i
    ORDER BY i.component, i.rollback IS NOT DISTINCT FROM 'SUCCEEDED', i.id DESC
  ) t
  JOIN rollouts r ON r.id = t.rollout_id AND NOT r.is_deleted`;

const driftedSql = sql`
  SELECT u.id, u.device_id AS "deviceId", u.rollout_id AS "rolloutId"
  FROM device_updates u JOIN rollouts r ON r.id = u.rollout_id AND NOT r.is_deleted
  WHERE u.device_id = ANY ($1::uuid[]) AND u.drifted_at IS NOT NULL AND u.retry_at IS NULL`;
