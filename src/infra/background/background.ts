import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import { Round, type RoundOptions } from "./round.ts";
import type { BackgroundWork, RowCounts, WorkLog } from "./work-log.ts";

/** What a {@link Background} is made of. */
export interface BackgroundParts {
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * All background work of a replica: knows how each does, for /metrics, and closes what its owners have not closed, the
 * newest first, because what came later stands on what came before.
 */
export class Background implements AsyncDisposable {
  readonly #parts: BackgroundParts;
  readonly #works: BackgroundWork[] = [];

  constructor(parts: BackgroundParts) {
    this.#parts = parts;
  }

  /** How each work does, in the order in which they began. */
  get logs(): readonly WorkLog[] {
    return this.#works.map(({ log }) => log);
  }

  /** Begins a round. `rows`: what becomes of the rows that it writes, if it does. */
  round(options: Omit<RoundOptions, keyof BackgroundParts>, rows?: RowCounts): Round {
    const round = new Round({ ...this.#parts, ...options }, rows);
    this.add(round);
    round.start();
    return round;
  }

  /** Shows a work and closes it in the end. Throws if another one has its name, which is a label of metrics. */
  add(work: BackgroundWork): void {
    const { name } = work.log;
    if (this.#works.some(({ log }) => log.name === name)) throw new Error(`two works are called ${name}`);
    this.#works.push(work);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const work of this.#works.toReversed()) await work.close();
  }
}
