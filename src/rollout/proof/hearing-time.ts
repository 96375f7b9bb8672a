import type { Clock } from "../../infra/clock.ts";
import type { OutageLog } from "./outage-log.ts";

/**
 * Time in which devices could be heard: it goes on from look to look, and stands still while nobody looks. So it neither
 * sees a step of the wall clock nor counts the time in which the machine slept, the process was stopped or the database,
 * without which nobody looks, was away.
 *
 * After such a gap devices need some time to be heard again, for what they sent meanwhile was lost: see {@link isSettled}.
 */
export class HearingTime {
  readonly #clock: Clock;
  readonly #graceMs: number;
  readonly #outages: Pick<OutageLog, "lost">;
  #ms = 0;
  #settledAtMs = 0;
  #last: { readonly wallMs: number; readonly monotonicMs: number } | undefined;

  /**
   * @param graceMs how long after a gap devices have to be heard from
   * @param outages told of what the wall clock says to have passed and did not, or not while the machine was awake
   */
  constructor(clock: Clock, graceMs: number, outages: Pick<OutageLog, "lost">) {
    this.#clock = clock;
    this.#graceMs = graceMs;
    this.#outages = outages;
  }

  /** Milliseconds in which devices could be heard so far. */
  get ms(): number {
    return this.#ms;
  }

  /** Whether devices have had the time to be heard since the last gap. */
  get isSettled(): boolean {
    return this.#ms >= this.#settledAtMs;
  }

  /** Says that devices can be heard now. Called about every second. */
  look(): void {
    const reading = { wallMs: this.#clock.now().getTime(), monotonicMs: this.#clock.monotonicMs() };
    const last = this.#last;
    this.#last = reading;
    if (last === undefined) return;
    const passedMs = reading.monotonicMs - last.monotonicMs;
    const steppedMs = reading.wallMs - last.wallMs - passedMs;
    this.#ms += Math.min(passedMs, longestLookMs);
    if (passedMs > longestLookMs || Math.abs(steppedMs) > longestLookMs)
      this.#settledAtMs = this.#ms + this.#graceMs;
    if (steppedMs > longestLookMs) this.#outages.lost(reading.wallMs - steppedMs, reading.wallMs);
  }
}

/** More than that between two looks, or between two clocks, and nobody can have been heard. */
const longestLookMs = 10_000;
