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

/** Calls of one caller that count against one limit. */
export interface CountedCalls {
  readonly rate: RateClass;
  readonly key: string;
  readonly calls: number;
}

/**
 * Counts calls by class and caller, in memory. What other replicas let through in the classes that are shared is told by
 * {@link hear}; in the other ones, with n replicas behind a balancer, a caller reaches at most n times its limit. The hard
 * limits are elsewhere (queues, pools, streams); this one keeps a single caller from taking everybody's share.
 *
 * No period, wherever it begins, has more calls than the limit. A bucket that refills (the generic cell rate algorithm
 * of ITU-T I.371) lets nearly twice as many through in the period that begins with a burst. It would take 0.2 us a call
 * and 0.05 KB a caller; this takes 0.5 us and, for a device that calls twice a minute, 0.3 KB.
 */
export class RateLimiter {
  readonly #classes: ReadonlyMap<RateClass, SlidingWindows>;
  readonly #clock: Clock;

  /** `shared`: the classes whose calls other replicas are told of, by who asks for {@link untold} again and again. */
  constructor(limits: RateLimits, clock: Clock, shared: ReadonlySet<RateClass> = new Set()) {
    this.#clock = clock;
    const classes = new Map<RateClass, SlidingWindows>();
    for (const [rate, limit] of Object.entries(limits) as [RateClass, RateLimit | undefined][]) {
      if (limit !== undefined) classes.set(rate, new SlidingWindows(limit, shared.has(rate)));
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

  /** What was let through in the shared classes since the last time that this was asked. */
  untold(): CountedCalls[] {
    const untold: CountedCalls[] = [];
    for (const [rate, windows] of this.#classes)
      for (const [key, calls] of windows.untold()) untold.push({ rate, key, calls });
    return untold;
  }

  /**
   * Counts what another replica let through, `agoMs` ago. What both together let through beyond the limit, because they did not
   * know of each other, is taken from the caller's next periods.
   */
  hear({ rate, key, calls }: CountedCalls, agoMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    this.#classes.get(rate)?.hear(key, calls, nowMs - Math.max(0, agoMs), nowMs);
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
  /** Calls by key that no other replica knows of; undefined where none needs to. */
  #untold: Map<string, number> | undefined;

  constructor(limit: RateLimit, shared: boolean) {
    this.#limit = limit;
    this.#runMs = limit.periodMs / runsPerPeriod;
    this.#windows = new RecentMap(limit.periodMs);
    this.#untold = shared ? new Map() : undefined;
  }

  get size(): number {
    return this.#windows.size;
  }

  consume(key: string, points: number, preciseMs: number): RateVerdict {
    const nowMs = wholeMs(preciseMs);
    const taken = Math.min(points, this.#limit.calls);
    const window = this.#windows.get(key, nowMs) ?? new Window();
    const verdict = this.#verdict(window, key, taken, nowMs);
    if (!verdict.ok) return verdict;
    window.add(taken, nowMs, this.#runMs);
    this.#windows.set(key, window);
    if (this.#untold !== undefined) note(this.#untold, key, taken);
    return verdict;
  }

  check(key: string, preciseMs: number): RateVerdict {
    const nowMs = wholeMs(preciseMs);
    const window = this.#windows.get(key, nowMs);
    return window === undefined ? allowed : this.#verdict(window, key, 1, nowMs);
  }

  untold(): Iterable<[key: string, calls: number]> {
    const untold = this.#untold;
    if (untold === undefined || untold.size === 0) return [];
    this.#untold = new Map();
    return untold;
  }

  hear(key: string, calls: number, preciseCalledMs: number, preciseMs: number): void {
    const nowMs = wholeMs(preciseMs);
    const calledMs = wholeMs(preciseCalledMs);
    const sinceMs = nowMs - this.#limit.periodMs;
    if (calledMs < sinceMs || !(calls > 0)) return;
    const window = this.#windows.get(key, nowMs) ?? new Window();
    window.forget(sinceMs, this.#limit.periodMs);
    const fitting = Math.min(calls, this.#limit.calls - window.calls);
    if (fitting > 0) window.addEarlier(fitting, calledMs, this.#runMs);
    window.owed += calls - fitting;
    this.#windows.set(key, window);
  }

  #verdict(window: Window, key: string, taken: number, nowMs: number): RateVerdict {
    const { calls, periodMs } = this.#limit;
    window.forget(nowMs - periodMs, periodMs);
    const excess = window.calls + taken - calls;
    if (excess <= 0) return allowed;
    // A window that owes is not the same as none when it was not used for a period.
    if (window.owed > 0) this.#windows.set(key, window);
    // What was called in the same millisecond may have been called at its end.
    return { ok: false, retryAfterMs: window.timeOf(excess + window.owed, periodMs) + periodMs + 1 - nowMs };
  }
}

function note(untold: Map<string, number>, key: string, calls: number): void {
  const before = untold.get(key);
  if (before !== undefined || untold.size < maxUntold) untold.set(key, (before ?? 0) + calls);
}

/** Callers of a class that others are told of at once, for as long as nobody can be told. */
const maxUntold = 50_000;

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
  /** Calls beyond the limit. They count in the place of those that are forgotten, as if they had been made a period later. */
  owed = 0;
  #oldest: Run | undefined;
  #newest: Run | undefined;

  /** Forgets what was called before `sinceMs`, which is one period ago. */
  forget(sinceMs: number, periodMs: number): void {
    while (this.#oldest !== undefined && this.#oldest.lastMs < sinceMs) {
      const { calls, lastMs, next } = this.#oldest;
      this.calls -= calls;
      this.#oldest = next;
      if (next === undefined) this.#newest = undefined;
      if (this.owed > 0) {
        const due = Math.min(this.owed, calls);
        this.owed -= due;
        this.addEarlier(due, lastMs + periodMs, 0);
      }
    }
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

  /** The same of calls that may be older than the newest: they count as if they had been made with it. */
  addEarlier(calls: number, calledMs: number, runMs: number): void {
    this.add(calls, Math.max(calledMs, this.#newest?.lastMs ?? calledMs), runMs);
  }

  /** When the last of the oldest `count` calls was made, or will count as made, in milliseconds. */
  timeOf(count: number, periodMs: number): number {
    // What is owed takes the place of what is forgotten, so the same runs come again with each period.
    const laterPeriods = Math.max(0, Math.ceil(count / this.calls) - 1);
    let run = this.#oldest;
    const inPeriod = count - laterPeriods * this.calls;
    for (let left = inPeriod - (run?.calls ?? 0); left > 0 && run?.next !== undefined; left -= run.calls)
      run = run.next;
    return (run?.lastMs ?? 0) + laterPeriods * periodMs;
  }
}
