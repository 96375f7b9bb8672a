import type { NoOffer } from "./offer-decision.ts";

/** When a device that got nothing should ask again: not before `afterMs`, and at random within `spreadMs` after that. */
export interface RetryTime {
  readonly afterMs: number;
  readonly spreadMs: number;
}

/**
 * Devices that a rollout held back because it was not their turn. The more they are, the longer they are told to stay
 * away, so that about as many come back in a minute as can be served. Counted on this replica.
 */
export class Deferrals {
  readonly #rollouts = new Map<string, { minute: number; count: number; before: number }>();
  readonly #pacedUntil = new Map<string, number>();

  /** Remembers that a rollout made all offers of the minute: for a while nobody needs to ask the database. */
  paced(rolloutId: string, nowMs: number): void {
    if (this.#pacedUntil.size >= maxRollouts) this.#pacedUntil.clear();
    this.#pacedUntil.set(rolloutId, nowMs + pacedMemoryMs);
  }

  /** Until when that is remembered, in milliseconds since 1970; 0 if it is not. */
  pacedUntilMs(rolloutId: string): number {
    return this.#pacedUntil.get(rolloutId) ?? 0;
  }

  /**
   * Counts a device that has to wait for its turn, and says when to ask again. `perMinute` is how many devices get their
   * turn in a minute, as far as that is known.
   */
  next(rolloutId: string, perMinute: number, nowMs: number): RetryTime {
    const minute = Math.floor(nowMs / minuteMs);
    let state = this.#rollouts.get(rolloutId);
    if (state === undefined || state.minute !== minute) {
      const before = state !== undefined && state.minute === minute - 1 ? state.count : 0;
      state = { minute, count: 0, before };
      if (this.#rollouts.size >= maxRollouts) this.#rollouts.clear();
      this.#rollouts.set(rolloutId, state);
    }
    state.count += 1;
    const waiting = Math.max(state.count, state.before);
    const minutes = Math.min(Math.max(1, waiting / Math.max(1, perMinute)), maxMinutes);
    return { afterMs: leastMs, spreadMs: minutes * minuteMs };
  }
}

/** When a device should ask again to whom a time is known at which its reason passes. */
export function retryAt({ untilMs }: NoOffer, nowMs: number): RetryTime | undefined {
  if (untilMs === undefined) return undefined;
  const afterMs = Math.min(Math.max(untilMs - nowMs, leastMs), longestMs);
  // A window or start time is the same for the whole fleet.
  return { afterMs, spreadMs: Math.min(Math.max(afterMs / 4, minuteMs), openingSpreadMs) };
}

const minuteMs = 60_000;

/** Nobody is told to come back sooner. */
const leastMs = 10_000;

/** Nobody stays away longer, however many wait: the rollout may be sped up meanwhile. */
const maxMinutes = 60;

/** As {@link maxMinutes}, for times that are known: a window may be moved. */
const longestMs = 6 * 3_600_000;

/** The time over which a fleet comes when a window opens. */
const openingSpreadMs = 10 * minuteMs;

/** A paced rollout is asked for again after this time: with one offer a second at the least there is one by then. */
const pacedMemoryMs = 5_000;

/** Rollouts that turn devices away at the same time; it only bounds the memory. */
const maxRollouts = 10_000;
