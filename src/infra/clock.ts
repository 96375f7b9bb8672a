/**
 * The service's view of time. Passed in wherever time is read, so that tests decide what time it is.
 */
export interface Clock {
  /** Wall-clock time: for stored timestamps and expiry. It may step backwards when the machine's clock is set. */
  now(): Date;

  /** Milliseconds since an arbitrary start, never backwards: for durations, intervals and time-outs. */
  monotonicMs(): number;
}

/** The machine's own clocks. */
export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
};
