import type { SharedFleet } from "../load/running-fleet.ts";

/** What every benchmark is given. */
export interface BenchOptions {
  /** Smaller numbers, to see that all runs; the figures are rough. */
  readonly quick: boolean;
  /** The large fleet. Benches change nothing in it that others measure. */
  readonly fleet: Pick<SharedFleet, "open">;
}
