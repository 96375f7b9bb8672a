import { OtaError } from "../errors.ts";

/** How many {@link Turns} there are. */
export interface TurnsOptions {
  /** What is done at the same time at most. */
  readonly atOnce: number;
  /** What may wait; more is refused with `QUEUE_FULL`, so that memory and waits stay bounded. */
  readonly maxWaiting: number;
  /** What is refused, for the message: `enrolments`. */
  readonly what: string;
  /** The shortest time after which a caller that was refused should come back; at random up to twice as long. */
  readonly retryAfterMs: number;
}

/**
 * Lets a bounded number work at once while others wait in order. Waiting here costs a closure; waiting in a pool of
 * connections would take every other caller's connection, and end after the pool's few seconds.
 */
export class Turns {
  readonly #options: TurnsOptions;
  /** In the order of their coming. */
  readonly #waiting = new Set<() => void>();
  #free: number;

  constructor(options: TurnsOptions) {
    this.#options = options;
    this.#free = options.atOnce;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Works when it is this caller's turn. Throws `QUEUE_FULL` if too many wait, with a time that spreads a crowd out, and
   * the signal's reason if that aborts first: the work is then never begun.
   */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    try {
      return await work();
    } finally {
      this.#next();
    }
  }

  #next(): void {
    for (const admit of this.#waiting) {
      admit();
      return;
    }
    this.#free++;
  }

  async #turn(signal: AbortSignal | undefined): Promise<void> {
    const { maxWaiting, what, retryAfterMs } = this.#options;
    if (this.#waiting.size >= maxWaiting) {
      throw new OtaError("resource_exhausted", "QUEUE_FULL", `too many ${what} at once; try again soon`, {
        retryAfterMs: Math.round(retryAfterMs * (1 + Math.random())),
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const admit = (): void => {
      this.#waiting.delete(admit);
      signal?.removeEventListener("abort", leave);
      resolve();
    };
    const leave = (): void => {
      this.#waiting.delete(admit);
      reject(signal?.reason);
    };
    this.#waiting.add(admit);
    signal?.addEventListener("abort", leave, { once: true });
    await promise;
  }
}
