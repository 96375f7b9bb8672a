/** Bounds of the waits between tries, in milliseconds. */
export interface BackOffOptions {
  /** Upper bound of the first wait. */
  readonly baseMs: number;
  /** Upper bound of every wait. */
  readonly capMs: number;
  /** Random numbers in [0, 1). */
  readonly random: () => number;
}

/**
 * Waits between tries that grow exponentially and spread evenly between a tenth of the bound and the bound, so that a
 * fleet that lost its service together does not come back together ("Exponential Backoff and Jitter", AWS Architecture
 * Blog, 2015).
 */
export class BackOff {
  readonly #options: BackOffOptions;
  #tries = 0;

  constructor(options: BackOffOptions) {
    this.#options = options;
  }

  /** The next wait in milliseconds; never less than `atLeastMs`, which a service may have asked for. */
  next(atLeastMs = 0): number {
    const { baseMs, capMs, random } = this.#options;
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
