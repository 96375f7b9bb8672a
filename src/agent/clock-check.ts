import { ClockQuality } from "../../gen/ota/v1/heartbeat_pb.js";
import type { Clock } from "../infra/clock.ts";

/**
 * Knows whether the device's clock tells the time, by what the service says that it is. A clock that was never set is known to be
 * wrong before that too. It is asked anew each time, because a clock may be set while the device runs.
 */
export class ClockCheck {
  readonly #clock: Clock;
  readonly #quality: ClockQuality | undefined;
  #told: { readonly timeMs: number; readonly atMs: number } | undefined;

  /** `quality` is what whoever built the device knows of its clock. */
  constructor(clock: Clock, quality: ClockQuality | undefined) {
    this.#clock = clock;
    this.#quality = quality;
  }

  /** Takes the service's time. */
  told(time: Date): void {
    this.#told = { timeMs: time.getTime(), atMs: this.#clock.monotonicMs() };
  }

  /** What the clock says; undefined if that is known to be wrong. */
  time(): Date | undefined {
    const now = this.#clock.now();
    if (now.getTime() < earliestTimeMs) return undefined;
    if (this.#told === undefined) return now;
    const expectedMs = this.#told.timeMs + this.#clock.monotonicMs() - this.#told.atMs;
    return Math.abs(now.getTime() - expectedMs) <= maxErrorMs ? now : undefined;
  }

  /**
   * The time for what must not be decided by a wrong clock; undefined unless the clock is kept right. Where whoever built the
   * device vouches for that, no service talks it out of it: else one that lies about the time could keep expired firmware alive.
   */
  trustedTime(): Date | undefined {
    const now = this.#clock.now();
    if (this.#quality === ClockQuality.SYNCHRONISED && now.getTime() >= earliestTimeMs) return now;
    return this.quality === ClockQuality.SYNCHRONISED ? this.time() : undefined;
  }

  /** How far the clock can be trusted. */
  get quality(): ClockQuality {
    return this.time() === undefined ? ClockQuality.UNSET : (this.#quality ?? ClockQuality.SYNCHRONISED);
  }
}

/** No device with this agent was made before. */
const earliestTimeMs = Date.UTC(2025, 0, 1);

/** A clock that is further off than this, in milliseconds, is wrong and not just imprecise. */
const maxErrorMs = 60_000;
