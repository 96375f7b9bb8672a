import { type Sql, sql } from "../../infra/database/sql.ts";

/**
 * How often in a day a device is given the way out of a recall. One whose own fall-back brings the recalled version each time would
 * install for ever otherwise.
 */
export const waysOutADay = 3;

/** For how long a replica remembers that a device has had all of them, and does not ask the database. */
export const waysOutRestMs = 10 * 60_000;

/** How many tries at the way out a device had in the day before a time; what gave way or was called off was none. */
export function waysOutSql(deviceId: Sql, rolloutId: Sql, at: Sql): Sql {
  return sql`(SELECT count(*)::int FROM device_updates y
    WHERE y.device_id = ${deviceId} AND y.rollout_id = ${rolloutId} AND y.action <> 'ROLLBACK'
      AND y.state NOT IN ('CANCELLED', 'SUPERSEDED') AND y.offered_at > ${at} - interval '1 day')`;
}

/** The alert of a rollout that was paused because what it brings is recalled. */
export function recalledAlert(words: string): string {
  return `${prefix}: ${words}`;
}

/** Whether an alert is one of {@link recalledAlert}. */
export function isRecalledAlert(alert: string): boolean {
  return alert.startsWith(prefix);
}

const prefix = "it brings what no device may run";
