import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import { forEverybody } from "../reader.ts";
import { type BackgroundWork, type RowCounts, WorkLog } from "./work-log.ts";

/** What a {@link Round} does, and when. */
export interface RoundOptions {
  /** Short and fixed, for example `roll_ups`: it labels metrics. */
  readonly name: string;
  /** From the end of one run to the beginning of the next, in milliseconds; runs only when asked to unless given. */
  readonly everyMs?: number;
  /** The first run comes at once and not after {@link everyMs}. */
  readonly atOnce?: boolean;
  /** From the end of a run that failed to the next, in milliseconds; {@link everyMs} unless given. */
  readonly afterFailureMs?: number;
  /** One run. What it throws is logged and counted, and the next run tries again. The signal aborts when it is to end. */
  readonly work: (signal: AbortSignal) => Promise<void> | void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Work that is done again and again, one run after the other. It keeps no process alive. */
export class Round implements BackgroundWork {
  readonly log: WorkLog;
  readonly #options: RoundOptions;
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  /** When the timer goes off, by the monotonic clock of the process: what is sooner takes its place. */
  #dueMs = Number.POSITIVE_INFINITY;
  #running: Promise<void> | undefined;
  /** How soon after the run that is under way the next one was asked for. */
  #soonMs = Number.POSITIVE_INFINITY;

  /** `rows`: what becomes of the rows that the work writes, if it does. */
  constructor(options: RoundOptions, rows?: RowCounts) {
    this.#options = options;
    this.log = new WorkLog(options, rows);
  }

  /** Begins. */
  start(): void {
    const { atOnce = false, everyMs } = this.#options;
    this.#schedule(atOnce ? 0 : everyMs);
  }

  /** Brings the next run forward: it begins after that time, or, if one is under way, that long after its end. */
  soon(ms: number): void {
    if (this.#running === undefined) this.#schedule(ms);
    else this.#soonMs = Math.min(this.#soonMs, ms);
  }

  /** Runs now, or joins the run that is under way. Never rejects. */
  run(): Promise<void> {
    if (this.#stop.signal.aborted) return Promise.resolve();
    this.#running ??= this.#run();
    return this.#running;
  }

  /** Resolves when no run is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#clear();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { work, everyMs, afterFailureMs = everyMs } = this.#options;
    const { signal } = this.#stop;
    this.#clear();
    const worked = await this.log.run(async () => {
      try {
        await forEverybody(() => work(signal));
      } catch (error) {
        // What was told to end has not failed.
        if (!signal.aborted) throw error;
      }
    });
    this.#running = undefined;
    const pauseMs = worked ? everyMs : afterFailureMs;
    this.#schedule(Math.min(this.#soonMs, pauseMs ?? Number.POSITIVE_INFINITY));
    this.#soonMs = Number.POSITIVE_INFINITY;
  }

  #schedule(ms: number | undefined): void {
    if (this.#stop.signal.aborted || ms === undefined || ms === Number.POSITIVE_INFINITY) return;
    const dueMs = performance.now() + ms;
    if (dueMs >= this.#dueMs) return;
    this.#clear();
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => void this.run(), ms);
    this.#timer.unref();
  }

  #clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dueMs = Number.POSITIVE_INFINITY;
  }
}
