import { Alarm } from "./alarm.ts";

/** Bounds of the waits between tries, in milliseconds. */
export interface BackOffOptions {
  /** Upper bound of the first wait. */
  readonly baseMs: number;
  /** Upper bound of every wait. */
  readonly capMs: number;
  /** Random numbers in [0, 1); `Math.random` unless given. */
  readonly random?: (() => number) | undefined;
}

/**
 * Waits between tries that grow exponentially and spread evenly between a tenth of the bound and the bound, so that
 * clients that lost their service together do not come back together ("Exponential Backoff and Jitter", AWS Architecture
 * Blog, 2015).
 *
 * Our own, because half of its users do not repeat a call: a connection or stream that worked for a day and is lost starts
 * again from the first wait, and what a service asks for is a lower bound. Libraries such as p-retry know calls only.
 */
export class BackOff {
  readonly #options: BackOffOptions;
  #tries = 0;

  constructor(options: BackOffOptions) {
    this.#options = options;
  }

  /** The next wait in milliseconds; never less than `atLeastMs`, which a service may have asked for. */
  next(atLeastMs = 0): number {
    const { baseMs, capMs, random = Math.random } = this.#options;
    const bound = Math.min(capMs, baseMs * 2 ** this.#tries);
    // Beyond 2^30 the power says nothing more; the bound has long been reached.
    this.#tries = Math.min(this.#tries + 1, 30);
    return atLeastMs + bound * (0.1 + 0.9 * random());
  }

  /** Starts again from the first wait, after a success. */
  reset(): void {
    this.#tries = 0;
  }
}

/** How {@link retry} goes about it. */
export interface RetryOptions extends BackOffOptions {
  /** Tries in all, the first included; without end unless given. */
  readonly attempts?: number | undefined;
  /** Whether another try may mend this failure; any unless given. */
  readonly isWorthRetrying?: ((error: unknown) => boolean) | undefined;
  /** The least wait before the next try, in milliseconds, if the failure says one. */
  readonly atLeastMs?: ((error: unknown) => number | undefined) | undefined;
  /** Ends the waits: its reason is then thrown. What is tried looks at it by itself. */
  readonly signal: AbortSignal | undefined;
}

/** Tries until it works, with growing waits. Throws the failure that is not worth another try, or is the last one. */
export async function retry<T>(run: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { attempts = Number.POSITIVE_INFINITY, isWorthRetrying = () => true, atLeastMs, signal } = options;
  const backOff = new BackOff(options);
  for (let attempt = 1; ; attempt++) {
    try {
      return await run(attempt);
    } catch (error) {
      if (attempt >= attempts || !isWorthRetrying(error)) throw error;
      await new Alarm().wait(backOff.next(atLeastMs?.(error)), signal ?? never);
      signal?.throwIfAborted();
    }
  }
}

const never = new AbortController().signal;
