import type { Logger } from "pino";
import { Round } from "../background/round.ts";
import type { MachineClock } from "../clock.ts";
import type { Session } from "./session.ts";
import { sql } from "./sql.ts";

/** What a {@link DatabaseClock} is made of. */
export interface DatabaseClockParts {
  readonly pool: Session;
  /** The machine's own clocks. */
  readonly machine: MachineClock;
  readonly logger: Logger;
}

/**
 * The database's clock, as this replica knows it: all replicas share it, so that times which one of them wrote can be
 * compared with now by another, however wrong the clock of its machine is. It is read about every second and goes on by the
 * machine's monotonic clock in between, also while the database is away. It follows when the database's clock is set.
 *
 * An answer says that the database's clock showed some time between the question and the answer. As long as what is known
 * fits that it is kept, so that a slow answer moves nothing; else it is moved as little as makes it fit.
 */
export class DatabaseClock implements MachineClock {
  readonly round: Round;
  readonly #parts: DatabaseClockParts;
  /** What it showed when the monotonic clock was at 0. */
  #originMs: number;
  #isOff = false;

  /** Reads it for the first time. */
  static async start(parts: DatabaseClockParts): Promise<DatabaseClock> {
    const clock = new DatabaseClock(parts);
    const { earliestMs, latestMs } = await clock.#read();
    clock.#originMs = (earliestMs + latestMs) / 2;
    clock.round.start();
    return clock;
  }

  private constructor(parts: DatabaseClockParts) {
    this.#parts = parts;
    const { machine, logger } = parts;
    this.#originMs = machine.now().getTime() - machine.monotonicMs();
    this.round = new Round({
      name: "database_clock",
      everyMs: readEveryMs,
      work: () => this.#follow(),
      clock: machine,
      logger,
    });
  }

  now(): Date {
    return new Date(this.#originMs + this.#parts.machine.monotonicMs());
  }

  monotonicMs(): number {
    return this.#parts.machine.monotonicMs();
  }

  sinceBootMs(): number {
    return this.#parts.machine.sinceBootMs();
  }

  /** By how much the machine's own clock is ahead of the database's, in milliseconds; negative if it is behind. */
  get machineAheadMs(): number {
    return this.#parts.machine.now().getTime() - this.now().getTime();
  }

  async #follow(): Promise<void> {
    const { earliestMs, latestMs } = await this.#read();
    this.#originMs = Math.min(Math.max(this.#originMs, earliestMs), latestMs);
    const { machineAheadMs } = this;
    const isOff = Math.abs(machineAheadMs) > worthTellingMs;
    if (isOff && !this.#isOff)
      this.#parts.logger.warn(
        { machineAheadMs },
        "this machine's clock differs from the database's, which counts",
      );
    this.#isOff = isOff;
  }

  /** Between which times it showed what it was at 0 of the monotonic clock. */
  async #read(): Promise<{ readonly earliestMs: number; readonly latestMs: number }> {
    const { pool, machine } = this.#parts;
    const askedMs = machine.monotonicMs();
    const [row] = await pool.query<{ ms: number }>(timeSql);
    const answeredMs = machine.monotonicMs();
    const shown = row?.ms ?? 0;
    return { earliestMs: shown - answeredMs, latestMs: shown - askedMs };
  }
}

const timeSql = sql`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms`;

const readEveryMs = 1_000;

/** By less no clock is wrong. */
const worthTellingMs = 5_000;
