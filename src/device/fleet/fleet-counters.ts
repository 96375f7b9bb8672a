import type { Logger } from "pino";
import type { Background } from "../../infra/background/background.ts";
import type { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import type { Pool } from "../../infra/database/pool.ts";
import type { ReadSession, Session } from "../../infra/database/session.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import { lateSecondSql, presenceWordSql } from "../state/presence-sql.ts";

/** What {@link FleetCounters} are made of. */
export interface FleetCountersParts {
  readonly database: Pick<Database, "pool">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly heartbeatIntervalMs: number;
}

/** One number: how many devices in service share a value of a dimension. */
export interface FleetCount {
  readonly dimension: string;
  readonly name: string | undefined;
  readonly number: number | undefined;
  readonly count: number;
}

/** How many devices in service there are, by what is heard of them. */
export interface PresenceCounts {
  readonly total: number;
  readonly online: number;
  readonly late: number;
  readonly offline: number;
  /** Never sent a heartbeat. */
  readonly unknown: number;
}

/** The fleet by presence, out of all counts of one moment. */
export function presenceCountsOf(counts: readonly FleetCount[]): PresenceCounts {
  const of = (name: string): number => counts.find(({ dimension }) => dimension === name)?.count ?? 0;
  const [total, online, late, offline] = [of("total"), of("online"), of("late"), of("offline")];
  return { total, online, late, offline, unknown: Math.max(0, total - online - late - offline) };
}

/**
 * The fleet's numbers, without looking at the fleet. Triggers on devices and device_state add to fleet_counts what each
 * statement changed, as rows of its own: writers never wait for one another, and what a transaction rolls back was never
 * counted. Reading sums them up; now and then equal ones are folded into one. Presence is counted by the second in which
 * devices were last heard, and by their own interval, in milliseconds, of those that have one: so that it is right at any moment
 * without anyone moving devices from one state to the next.
 */
export class FleetCounters {
  readonly #parts: FleetCountersParts;
  readonly #pool: Pool;
  #recountedAtMs: number;
  #round: Round | undefined;

  constructor(parts: FleetCountersParts) {
    this.#parts = parts;
    this.#pool = parts.database.pool;
    this.#recountedAtMs = parts.clock.monotonicMs();
  }

  /**
   * All counts at one moment, of each dimension the {@link maxValues} highest. The dimensions `online`, `late` and
   * `offline` have one count each.
   */
  async read(now: Date, session: ReadSession = this.#pool): Promise<readonly FleetCount[]> {
    try {
      const rows = await session.query<CountRow>(readSql, this.#moment(now));
      return rows.map(({ dimension, name, number, count }) => ({
        dimension,
        name: name ?? undefined,
        number: number === null ? undefined : Number(number),
        count: Number(count),
      }));
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }

  /** Folds and checks from time to time from now on, on whichever replica gets to it. */
  start(background: Background): void {
    this.#round = background.round({
      name: "fleet_counters",
      everyMs: foldMs,
      // One after the other: who holds the lock makes others skip their turn.
      work: async () => {
        await this.fold();
        const nowMs = this.#parts.clock.monotonicMs();
        if (nowMs - this.#recountedAtMs < recountMs) return;
        await this.recount();
        this.#recountedAtMs = nowMs;
      },
    });
  }

  /** Folds equal rows into one. Devices that were last heard long ago share a row an hour. */
  async fold(): Promise<void> {
    await this.#exclusively(async (session) => {
      await session.run(foldSql, this.#moment(this.#parts.clock.now()));
    });
  }

  /**
   * Counts the fleet itself, compares, and puts right what differs: after rows were loaded with triggers off, or the
   * heartbeat interval was raised. About a second for a million devices. Returns how many counts were wrong.
   */
  async recount(): Promise<number> {
    let wrong = 0;
    await this.#exclusively(async (session) => {
      wrong = await session.run(recountSql, this.#moment(this.#parts.clock.now()));
    });
    if (wrong > 0)
      this.#parts.logger.warn({ counts: wrong }, "counts of the fleet were wrong and are put right");
    return wrong;
  }

  /** Stops, after what is under way. Idempotent. */
  async close(): Promise<void> {
    await this.#round?.close();
  }

  /** By which the statements here judge who is late. */
  #moment(now: Date): number[] {
    return [now.getTime(), this.#parts.heartbeatIntervalMs];
  }

  /** In a transaction, unless another replica is doing it. */
  async #exclusively(work: (session: Session) => Promise<void>): Promise<void> {
    try {
      await this.#pool.inTurn("fleet counters", work);
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }
}

/** Longer lists say nothing at a glance. */
const maxValues = 100;

/** Between two folds a busy fleet adds some thousand rows, which are summed in a millisecond. */
const foldMs = 10_000;

const recountMs = 3_600_000;

const coarseAfterSeconds = 3_600;

interface CountRow {
  readonly dimension: string;
  readonly name: string | null;
  readonly number: string | null;
  readonly count: string;
}

const nowMs = sql`$1::double precision`;

/** Of what is counted under `seen`, whose name is the interval of devices that have one of their own. */
const intervalMs = sql`coalesce(name::double precision, $2::double precision)`;

/** A second before which all these devices are offline is an hour: nobody asks for how long to the second. */
const coarseNumber = sql`CASE WHEN dimension = 'seen' THEN
    CASE WHEN number < ${lateSecondSql(intervalMs, nowMs)} - ${coarseAfterSeconds} THEN number - number % 3600 ELSE number END
  ELSE number END`;

/** One statement, and so one moment. Equal versions count as one. */
const readSql = prepared(
  "device_read_counts",
  sql`
  WITH texts AS MATERIALIZED (
    SELECT dimension, name, number, sum(count) AS count FROM fleet_counts GROUP BY dimension, name, number
  ), sums AS (
    SELECT dimension, name, number, count FROM texts WHERE dimension <> 'firmware_version'
    UNION ALL
    SELECT dimension, version_name(name), number, sum(count) FROM texts WHERE dimension = 'firmware_version' GROUP BY 1, 2, 3
  ), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY dimension ORDER BY count DESC, name, number) AS position
      FROM sums WHERE dimension <> 'seen' AND count > 0
  )
  SELECT dimension, name, number, count FROM ranked WHERE position <= ${maxValues}
  UNION ALL
  SELECT ${presenceWordSql(sql`number`, intervalMs, nowMs)}, NULL, NULL, sum(count)
    FROM sums WHERE dimension = 'seen' GROUP BY 1`,
);

/** Only rows of values that have several, so that a large catalogue of values is not rewritten every time. */
const foldSql = sql`
  WITH coarse AS (
    SELECT id, dimension, name, ${coarseNumber} AS number FROM fleet_counts
  ), several AS (
    SELECT id, dimension, name, number FROM (
      SELECT *, count(*) OVER (PARTITION BY dimension, name, number) AS rows FROM coarse
    ) c WHERE rows > 1
  ), gone AS (
    DELETE FROM fleet_counts f USING several s WHERE f.id = s.id RETURNING s.dimension, s.name, s.number, f.count
  )
  INSERT INTO fleet_counts (dimension, name, number, count)
  SELECT dimension, name, number, sum(count) FROM gone GROUP BY dimension, name, number HAVING sum(count) <> 0`;

/** Truth and counts at one moment: what was committed later is in neither, and adds itself to both. */
const recountSql = sql`
  INSERT INTO fleet_counts (dimension, name, number, count)
  SELECT dimension, name, number, sum(count) FROM (
    SELECT dimension, name, ${coarseNumber} AS number, count
      FROM (SELECT dimension, name, number, count FROM fleet_recount()
            UNION ALL SELECT dimension, name, number, -count FROM fleet_counts) both_sides
  ) coarse GROUP BY dimension, name, number HAVING sum(count) <> 0`;
