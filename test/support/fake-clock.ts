import type { MachineClock } from "../../src/infra/clock.ts";

/** A clock that stands still until the test moves it. Wall-clock and monotonic time can be moved apart. */
export class FakeClock implements MachineClock {
  #wallMs: number;
  #monotonicMs = 0;
  #sinceBootMs = 0;
  readonly #watchers = new Set<() => void>();

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

  /** Calls back every few seconds of the time that passes, as something does that goes on by itself. */
  onPass(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Lets `ms` milliseconds pass on all clocks. */
  advance(ms: number): void {
    if (ms < 0) throw new RangeError("time does not run backwards; use setWallClock for a stepped clock");
    for (let left = ms; left > 0; left -= strideMs) {
      this.stall(Math.min(left, strideMs));
      for (const watcher of this.#watchers) watcher();
    }
  }

  /** As {@link advance}, while nothing goes on: the process is stopped, or waits for something. */
  stall(ms: number): void {
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

/** Less than what counts as a gap. */
const strideMs = 5_000;
