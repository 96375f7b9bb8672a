import type { Logger } from "pino";
import type { Background } from "../../infra/background/background.ts";
import type { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import type { Pool } from "../../infra/database/pool.ts";
import type { Session } from "../../infra/database/session.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import { presenceCutoffs } from "../state/presence.ts";

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

/**
 * The fleet's numbers, without looking at the fleet. Triggers on devices and device_state add to fleet_counts what each
 * statement changed, as rows of its own: writers never wait for one another, and what a transaction rolls back was never
 * counted. Reading sums them up; now and then equal ones are folded into one. Presence is counted by the second in which
 * devices were last heard, so that it is right at any moment without anyone moving devices from one state to the next.
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
  async read(now: Date): Promise<readonly FleetCount[]> {
    const cutoffs = presenceCutoffs(now.getTime(), this.#parts.heartbeatIntervalMs);
    const { onlineFrom, lateFrom, seenUntil } = cutoffs;
    try {
      const rows = await this.#pool.query<CountRow>(readSql, [onlineFrom, lateFrom, seenUntil]);
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
      await session.run(foldSql, [this.#coarseBefore()]);
    });
  }

  /**
   * Counts the fleet itself, compares, and puts right what differs: after rows were loaded with triggers off, or the
   * heartbeat interval was raised. About a second for a million devices. Returns how many counts were wrong.
   */
  async recount(): Promise<number> {
    let wrong = 0;
    await this.#exclusively(async (session) => {
      wrong = await session.run(recountSql, [this.#coarseBefore()]);
    });
    if (wrong > 0)
      this.#parts.logger.warn({ counts: wrong }, "counts of the fleet were wrong and are put right");
    return wrong;
  }

  /** Stops, after what is under way. Idempotent. */
  async close(): Promise<void> {
    await this.#round?.close();
  }

  /** Before this second, since 1970, all devices are offline, and nobody asks for how long to the second. */
  #coarseBefore(): number {
    const nowMs = this.#parts.clock.now().getTime();
    return presenceCutoffs(nowMs, this.#parts.heartbeatIntervalMs).lateFrom - coarseAfterSeconds;
  }

  /** In a transaction, unless another replica is doing it. */
  async #exclusively(work: (session: Session) => Promise<void>): Promise<void> {
    try {
      await this.#pool.inTurn(upkeepLock, work);
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

/** Names the lock to PostgreSQL: any number that nothing else in the database locks. */
const upkeepLock = 7_236_400_922;

interface CountRow {
  readonly dimension: string;
  readonly name: string | null;
  readonly number: string | null;
  readonly count: string;
}

/** One statement, and so one moment. Presence by the same limits as `presenceAt`; equal versions count as one. */
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
  SELECT CASE WHEN number > $3 THEN 'offline' WHEN number >= $1 THEN 'online' WHEN number >= $2 THEN 'late' ELSE 'offline' END,
    NULL, NULL, sum(count)
    FROM sums WHERE dimension = 'seen' GROUP BY 1`,
);

/** Only rows of values that have several, so that a large catalogue of values is not rewritten every time. */
const foldSql = sql`
  WITH coarse AS (
    SELECT id, dimension, name, CASE WHEN dimension = 'seen' AND number < $1 THEN number - number % 3600 ELSE number END AS number
      FROM fleet_counts
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
    SELECT dimension, name, CASE WHEN dimension = 'seen' AND number < $1 THEN number - number % 3600 ELSE number END AS number, count
      FROM (SELECT dimension, name, number, count FROM fleet_recount()
            UNION ALL SELECT dimension, name, number, -count FROM fleet_counts) both_sides
  ) coarse GROUP BY dimension, name, number HAVING sum(count) <> 0`;
