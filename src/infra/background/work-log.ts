import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";

/** Something that goes on by itself: a round, a batched writer. */
export interface BackgroundWork {
  readonly log: WorkLog;
  /** Ends it after what is under way; what waits to be written is written, once. May be called more than once. */
  close(): Promise<void>;
}

/** What a {@link WorkLog} is made of. */
export interface WorkLogParts {
  /** Short and fixed, for example `roll_ups`: it labels metrics. */
  readonly name: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * How a background work does: when it last ran, worked and failed. Failures are logged once for all that follow each other
 * with the same words, because a database that is away fails some work every second.
 */
export class WorkLog {
  readonly name: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  succeeded = 0;
  failed = 0;
  /** When the last run began. */
  lastRun: Date | undefined;
  lastSuccess: Date | undefined;
  lastFailure: Date | undefined;
  /** How long the last run that ended took. */
  lastDurationMs: number | undefined;
  /** What became of rows, if it writes some. */
  readonly rows: RowCounts | undefined;
  #failing: string | undefined;

  constructor({ name, clock, logger }: WorkLogParts, rows?: RowCounts) {
    this.name = name;
    this.#clock = clock;
    this.#logger = logger;
    this.rows = rows;
  }

  /** Runs the work once and notes how it went. Whether it went well; never rejects. */
  async run(work: () => Promise<void>): Promise<boolean> {
    const startedMs = this.#clock.monotonicMs();
    this.lastRun = this.#clock.now();
    try {
      await work();
      this.succeeded++;
      this.lastSuccess = this.#clock.now();
      if (this.#failing !== undefined) this.#logger.info({ work: this.name }, "background work goes on");
      this.#failing = undefined;
      return true;
    } catch (err) {
      this.failed++;
      this.lastFailure = this.#clock.now();
      const words = err instanceof Error ? err.message : String(err);
      const level = words === this.#failing ? "debug" : "warn";
      this.#logger[level]({ err, work: this.name }, "background work failed; it will be tried again");
      this.#failing = words;
      return false;
    } finally {
      this.lastDurationMs = this.#clock.monotonicMs() - startedMs;
    }
  }
}

/** What became of the rows of a batched writer. */
export class RowCounts {
  written = 0;
  /** Dropped because the database refuses them for what is in them. */
  refused = 0;
  /** Dropped because there was no room, or because the database was away and their senders send them again. */
  lost = 0;
  readonly #size: () => number | undefined;

  constructor(size: () => number | undefined = () => undefined) {
    this.#size = size;
  }

  /** Rows that wait to be written; undefined if that is not known. */
  get waiting(): number | undefined {
    return this.#size();
  }
}
