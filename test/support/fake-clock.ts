import type { MachineClock } from "../../src/infra/clock.ts";

/** A clock that stands still until the test moves it. Wall-clock and monotonic time can be moved apart. */
export class FakeClock implements MachineClock {
  #wallMs: number;
  #monotonicMs = 0;
  #sinceBootMs = 0;

  constructor(start: Date | string = "2026-01-01T00:00:00Z") {
    this.#wallMs = new Date(start).getTime();
  }

  now(): Date {
    return new Date(this.#wallMs);
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  sinceBootMs(): number {
    return this.#sinceBootMs;
  }

  /** Lets `ms` milliseconds pass on all clocks. */
  advance(ms: number): void {
    if (ms < 0) throw new RangeError("time does not run backwards; use setWallClock for a stepped clock");
    this.#wallMs += ms;
    this.#monotonicMs += ms;
    this.#sinceBootMs += ms;
  }

  /** Lets the machine sleep: monotonic time stands still. */
  sleep(ms: number): void {
    this.#wallMs += ms;
    this.#sinceBootMs += ms;
  }

  /** Sets the wall clock, also backwards, as an administrator or NTP would; monotonic time does not notice. */
  setWallClock(to: Date | string): void {
    this.#wallMs = new Date(to).getTime();
  }
}
