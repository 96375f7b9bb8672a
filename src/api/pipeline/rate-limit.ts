import { OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import { RecentMap } from "../../infra/recent-map.ts";
import type { RateClass } from "./endpoint.ts";

/** How many calls a caller may make in any period of that length, at once or one after the other. */
interface RateLimit {
  readonly calls: number;
  readonly periodMs: number;
}

/** Limits by class; undefined means no limit. */
export type RateLimits = Readonly<Record<RateClass, RateLimit | undefined>>;

/** Whether a call fits its limit. */
export type RateVerdict = { readonly ok: true } | { readonly ok: false; readonly retryAfterMs: number };

/**
 * Counts calls by class and caller, in memory and for this replica alone: with n replicas behind a balancer a caller
 * reaches at most n times its limit. The hard limits are elsewhere (queues, pools, streams); this one keeps a single
 * caller from taking everybody's share.
 *
 * No period, wherever it begins, has more calls than the limit. A bucket that refills (the generic cell rate algorithm
 * of ITU-T I.371) lets nearly twice as many through in the period that begins with a burst. It would take 0.2 us a call
 * and 0.05 KB a caller; this takes 0.5 us and, for a device that calls twice a minute, 0.3 KB.
 */
export class RateLimiter {
  readonly #classes: ReadonlyMap<RateClass, SlidingWindows>;
  readonly #clock: Clock;

  constructor(limits: RateLimits, clock: Clock) {
    this.#clock = clock;
    const classes = new Map<RateClass, SlidingWindows>();
    for (const [rate, limit] of Object.entries(limits) as [RateClass, RateLimit | undefined][]) {
      if (limit !== undefined) classes.set(rate, new SlidingWindows(limit));
    }
    this.#classes = classes;
  }

  /**
   * Takes `points` calls from what `key` may make in `rate`, all or none. A batch that is larger than the whole limit
   * takes the whole limit, because it could never pass otherwise.
   */
  consume(rate: RateClass, key: string, points = 1): RateVerdict {
    const windows = this.#classes.get(rate);
    return windows === undefined ? allowed : windows.consume(key, points, this.#clock.monotonicMs());
  }

  /** Whether a call would fit, without taking it. */
  check(rate: RateClass, key: string): RateVerdict {
    const windows = this.#classes.get(rate);
    return windows === undefined ? allowed : windows.check(key, this.#clock.monotonicMs());
  }

  /** How many callers are remembered now, for the tests of the bound. */
  get size(): number {
    let size = 0;
    for (const windows of this.#classes.values()) size += windows.size;
    return size;
  }
}

/** RESOURCE_EXHAUSTED with the time after which the call would fit. */
export function rateLimited(rate: RateClass, retryAfterMs: number): OtaError {
  const seconds = Math.ceil(retryAfterMs / 1_000);
  return new OtaError(
    "resource_exhausted",
    "RATE_LIMITED",
    `too many calls (limit: ${rate}); try again in ${seconds} s`,
    { metadata: { limit: rate }, retryAfterMs },
  );
}

const allowed: RateVerdict = { ok: true };

/** The windows of one class, by key. A window that was not used for a period is empty, which is what an unknown key means. */
class SlidingWindows {
  readonly #limit: RateLimit;
  readonly #runMs: number;
  readonly #windows: RecentMap<Window>;

  constructor(limit: RateLimit) {
    this.#limit = limit;
    this.#runMs = limit.periodMs / runsPerPeriod;
    this.#windows = new RecentMap(limit.periodMs);
  }

  get size(): number {
    return this.#windows.size;
  }

  consume(key: string, points: number, preciseMs: number): RateVerdict {
    const nowMs = wholeMs(preciseMs);
    const taken = Math.min(points, this.#limit.calls);
    const window = this.#windows.get(key, nowMs) ?? new Window();
    const verdict = this.#verdict(window, taken, nowMs);
    if (!verdict.ok) return verdict;
    window.add(taken, nowMs, this.#runMs);
    this.#windows.set(key, window);
    return verdict;
  }

  check(key: string, preciseMs: number): RateVerdict {
    const nowMs = wholeMs(preciseMs);
    const window = this.#windows.get(key, nowMs);
    return window === undefined ? allowed : this.#verdict(window, 1, nowMs);
  }

  #verdict(window: Window, taken: number, nowMs: number): RateVerdict {
    const { calls, periodMs } = this.#limit;
    window.forget(nowMs - periodMs);
    const excess = window.calls + taken - calls;
    // What was called in the same millisecond may have been called at its end.
    return excess > 0 ? { ok: false, retryAfterMs: window.timeOf(excess) + periodMs + 1 - nowMs } : allowed;
  }
}

/** Whole milliseconds are small integers, which V8 keeps without a box. */
function wholeMs(preciseMs: number): number {
  return Math.floor(preciseMs);
}

/**
 * Runs that a period is divided into. Calls of one run count as if they had been made with its last one, so up to a
 * twentieth of a period passes before those of a caller at its limit fall out; never is one forgotten too early.
 */
const runsPerPeriod = 20;

/** Calls that were made one soon after the other. */
interface Run {
  readonly firstMs: number;
  lastMs: number;
  calls: number;
  next: Run | undefined;
}

/** The calls of one caller in the last period: some twenty runs at most, one for a device that calls once a minute. */
class Window {
  calls = 0;
  #oldest: Run | undefined;
  #newest: Run | undefined;

  /** Forgets what was called before `sinceMs`. */
  forget(sinceMs: number): void {
    while (this.#oldest !== undefined && this.#oldest.lastMs < sinceMs) {
      this.calls -= this.#oldest.calls;
      this.#oldest = this.#oldest.next;
    }
    if (this.#oldest === undefined) this.#newest = undefined;
  }

  add(calls: number, nowMs: number, runMs: number): void {
    this.calls += calls;
    const newest = this.#newest;
    if (newest !== undefined && nowMs - newest.firstMs < runMs) {
      newest.lastMs = nowMs;
      newest.calls += calls;
      return;
    }
    const run: Run = { firstMs: nowMs, lastMs: nowMs, calls, next: undefined };
    if (newest === undefined) this.#oldest = run;
    else newest.next = run;
    this.#newest = run;
  }

  /** When the last of the oldest `count` calls was made, in milliseconds. */
  timeOf(count: number): number {
    let run = this.#oldest;
    for (let left = count - (run?.calls ?? 0); left > 0 && run?.next !== undefined; left -= run.calls)
      run = run.next;
    return run?.lastMs ?? 0;
  }
}
