import type { Ring, Rollout } from "./rollout.ts";

/** Measures the time in which devices could be heard. */
export interface HeardTime {
  /** The time by the clock that all replicas share. */
  now(): Date;
  /** How much of it there was since a time of the clock, in milliseconds. */
  between(from: Date): number;
  /** The time of the clock since which there was so much of it. */
  ago(ms: number): Date;
}

/**
 * A rollout as it is to be judged at `now`: its rings are open, and their gates hold, for as long as devices could be heard
 * since. So neither a step of the clock nor a time in which nothing could be heard shortens what has to hold for some time.
 */
export function heardRollout(rollout: Rollout, hearing: HeardTime, now: Date): Rollout {
  const moved = (from: Date | undefined): Date | undefined =>
    from === undefined ? undefined : new Date(now.getTime() - hearing.between(from));
  const rings = rollout.rings.map((ring): Ring => {
    const { openedAt, gateHeldSince } = ring;
    return { ...ring, openedAt: moved(openedAt), gateHeldSince: moved(gateHeldSince) };
  });
  return { ...rollout, rings };
}
