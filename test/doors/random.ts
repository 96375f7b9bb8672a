import { seededRandom } from "../../src/agent/seeded-random.ts";

/** Chance that can be had again: the same seed draws the same. */
export class Random {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = seededRandom("fuzz", seed);
  }

  /** A whole number from 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.#next() * limit);
  }

  /** Whether something of that probability happens. */
  chance(probability: number): boolean {
    return this.#next() < probability;
  }

  /** One of several. */
  pick<T>(of: readonly T[]): T {
    return of[this.below(of.length)] as T;
  }
}
