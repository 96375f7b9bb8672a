import { uptime } from "node:os";

/**
 * The service's view of time. Passed in wherever time is read, so that tests decide what time it is.
 */
export interface Clock {
  /** Wall-clock time: for stored timestamps and expiry. It may step backwards when the machine's clock is set. */
  now(): Date;

  /**
   * Milliseconds since an arbitrary start, never backwards: for durations, intervals and time-outs. It stands still while
   * the machine sleeps, on Linux, as timers do.
   */
  monotonicMs(): number;
}

/** A clock that also goes on while the machine sleeps. */
export interface MachineClock extends Clock {
  /** Milliseconds since the machine started, its sleep included, to a hundredth of a second. */
  sinceBootMs(): number;
}

/** The machine's own clocks. On Linux CLOCK_REALTIME, CLOCK_MONOTONIC and CLOCK_BOOTTIME. */
export const systemClock: MachineClock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  sinceBootMs: () => uptime() * 1_000,
};
