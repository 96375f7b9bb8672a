import type { Clock } from "../clock.ts";
import type { ObjectStore } from "./object-store.ts";

/** What a {@link StoreProbe} is made of. */
export interface StoreProbeParts {
  readonly store: Pick<ObjectStore, "check">;
  /** For how long a success counts. */
  readonly goodForMs: number;
  readonly clock: Clock;
}

/** Whether the store can be written to, for all who ask: each question costs the store a call, and what it answered well counts for a while. */
export class StoreProbe {
  readonly #parts: StoreProbeParts;
  #goodUntilMs = Number.NEGATIVE_INFINITY;

  constructor(parts: StoreProbeParts) {
    this.#parts = parts;
  }

  /** Throws unless the store could be written to within that time, or can now. */
  async check(signal: AbortSignal): Promise<void> {
    const { store, goodForMs, clock } = this.#parts;
    if (clock.monotonicMs() < this.#goodUntilMs) return;
    await store.check(signal);
    this.#goodUntilMs = clock.monotonicMs() + goodForMs;
  }
}
