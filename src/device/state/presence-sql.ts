import type { Parameters } from "../../infra/database/parameters.ts";
import { type Sql, sql } from "../../infra/database/sql.ts";
import {
  clockSlackSeconds,
  lateIntervals,
  onlineIntervals,
  type Presence,
  presenceCutoffs,
} from "./presence.ts";

/** The moment at which presence is judged, and what holds for devices with no interval of their own. In milliseconds. */
export interface PresenceMoment {
  readonly nowMs: number;
  readonly heartbeatIntervalMs: number;
}

type Parameter = Parameters["add"];

/**
 * From when on a device of `device_state s` must have been heard to be online. The cutoffs here are those of
 * `presenceCutoffs`, as timestamps. Most devices have no interval of their own: theirs is a parameter, so that they cost no
 * more than a comparison.
 */
export function onlineFromSql(moment: PresenceMoment, parameter: Parameter): Sql {
  const { onlineFrom } = presenceCutoffs(moment.nowMs, moment.heartbeatIntervalMs);
  return ownCutoff(onlineIntervals, onlineFrom, moment, parameter);
}

/** From when on it must have been heard not to be offline. */
export function lateFromSql(moment: PresenceMoment, parameter: Parameter): Sql {
  const { lateFrom } = presenceCutoffs(moment.nowMs, moment.heartbeatIntervalMs);
  return ownCutoff(lateIntervals, lateFrom, moment, parameter);
}

/** Whether a device of `device_state s` has a presence, or is not offline (`present`), as `presenceOf` judges. */
export function presenceTest(
  presence: Presence | "present",
  moment: PresenceMoment,
  parameter: Parameter,
): Sql {
  const { seenUntil } = presenceCutoffs(moment.nowMs, moment.heartbeatIntervalMs);
  const tooLate = () => timestamp(seenUntil + 1, parameter);
  switch (presence) {
    case "unknown":
      return sql`s.last_seen_at IS NULL`;
    case "online":
      return sql`s.last_seen_at >= ${onlineFromSql(moment, parameter)} AND s.last_seen_at < ${tooLate()}`;
    case "late":
      return sql`s.last_seen_at < ${onlineFromSql(moment, parameter)} AND s.last_seen_at >= ${lateFromSql(moment, parameter)}`;
    case "present":
      return sql`s.last_seen_at >= ${lateFromSql(moment, parameter)} AND s.last_seen_at < ${tooLate()}`;
    case "offline":
      return sql`(s.last_seen_at < ${lateFromSql(moment, parameter)} OR s.last_seen_at >= ${tooLate()})`;
  }
}

/** The presence of whoever was last heard in a second, in a word, as `presenceAt` judges. All in double precision. */
export function presenceWordSql(seenSecond: Sql, intervalMs: Sql, nowMs: Sql): Sql {
  return sql`CASE WHEN ${seenSecond} > floor(${nowMs} / 1000) + ${clockSlackSeconds} THEN 'offline'
    WHEN ${seenSecond} >= ${secondBefore(onlineIntervals, intervalMs, nowMs)} THEN 'online'
    WHEN ${seenSecond} >= ${lateSecondSql(intervalMs, nowMs)} THEN 'late' ELSE 'offline' END`;
}

/** The second in which whoever is not offline must have been heard, or later. */
export function lateSecondSql(intervalMs: Sql, nowMs: Sql): Sql {
  return secondBefore(lateIntervals, intervalMs, nowMs);
}

function secondBefore(intervals: number, intervalMs: Sql, nowMs: Sql): Sql {
  return sql`floor((${nowMs} - ${intervals} * ${intervalMs}) / 1000)`;
}

function ownCutoff(
  intervals: number,
  plainSecond: number,
  { nowMs }: PresenceMoment,
  parameter: Parameter,
): Sql {
  const own = secondBefore(intervals, sql`s.expected_interval_ms`, parameter(nowMs, "double precision"));
  return sql`CASE WHEN s.expected_interval_ms IS NULL THEN ${timestamp(plainSecond, parameter)} ELSE to_timestamp(${own}) END`;
}

function timestamp(second: number, parameter: Parameter): Sql {
  return parameter(new Date(second * 1_000), "timestamptz");
}
