import type { Parameters } from "../infra/database/parameters.ts";
import { type Sql, sql } from "../infra/database/sql.ts";
import type { TimePartitions } from "../infra/database/time-partitions.ts";

/** By which time heartbeats are placed: when they were received, or when the device made them. */
export type TimeBasis = "receive" | "device";

/**
 * The oldest time that a device's clock can be right about, as far as its heartbeats are kept. Where they are kept for ever: the
 * service has heard of none before.
 */
export function oldestDeviceTime(heartbeats: Pick<TimePartitions, "firstKept">): Date {
  return heartbeats.firstKept() ?? new Date("2020-01-01T00:00:00Z");
}

/** Heartbeats within a time, and what to read of them. */
export interface HeartbeatScan {
  readonly basis: TimeBasis;
  /** See {@link oldestDeviceTime}. */
  readonly oldest: Date;
  readonly from: Date;
  /** Exclusive. */
  readonly to: Date;
  /** Which of them, beside the time. */
  readonly where: Sql;
}

/**
 * A table expression of heartbeats with all their columns, `made_at` (the device's time, NULL if it cannot be right) and `at` (the
 * time by which they are placed). However late a heartbeat came, one that was made within the time was received after its
 * begin, so only those are read.
 */
export function placedHeartbeats(
  { basis, oldest, from, to, where }: HeartbeatScan,
  parameters: Parameters,
): Sql {
  const instant = (time: Date) => parameters.add(time.toISOString(), "timestamptz");
  const [since, until] = [instant(from), instant(to)];
  const made = sql`CASE WHEN device_time BETWEEN ${instant(oldest)} AND received_at + ${slack} THEN device_time END`;
  if (basis === "receive") {
    return sql`(SELECT *, received_at AS at, ${made} AS made_at FROM device_heartbeats
      WHERE ${where} AND received_at >= ${since} AND received_at < ${until})`;
  }
  return sql`(SELECT * FROM (
      SELECT *, coalesce(${made}, received_at) AS at, ${made} AS made_at FROM device_heartbeats
      WHERE ${where} AND received_at >= ${since} - ${slack}
    ) placed WHERE at >= ${since} AND at < ${until})`;
}

/** So far ahead of ours a clock that is right may be. */
const slack = sql`interval '1 minute'`;
