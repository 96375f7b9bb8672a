import type { Clock, MachineClock } from "../../infra/clock.ts";
import type { HeardTime } from "../model/heard-time.ts";
import { type ClockStep, type HearingSpan, spansBefore } from "./hearing-span.ts";
import type { OutageLog } from "./outage-log.ts";

/** What a {@link HearingTime} is made of. */
export interface HearingTimeParts {
  /** The time that all replicas share: it may be set, forward or back. */
  readonly clock: MachineClock;
  /** How long after a gap devices have to be heard from. */
  readonly graceMs: number;
  /** Told of what the clock says to have passed and did not, or not while the machine was awake. */
  readonly outages: Pick<OutageLog, "lost">;
  /** What is known from before this replica began. */
  readonly before?: HeardBefore | undefined;
  /** Told that the clock was set. */
  readonly stepped?: ((step: ClockStep) => void) | undefined;
}

/** What other replicas, or this one before a restart, have stored. */
export interface HeardBefore {
  /** When a device was last heard, by the clock as it is set now; undefined if none ever was. */
  readonly lastHeard: Date | undefined;
  /** When the clock was set, oldest first. */
  readonly steps: readonly ClockStep[];
}

/**
 * Time in which devices could be heard: it goes on from look to look, and stands still while nobody looks. So it neither
 * sees a step of the clock nor counts the time in which the machine slept, the process was stopped or did not run, or the
 * database, without which nobody looks, was away. What has to last for some time, such as the watch over a device or the
 * soak of a ring, is measured by it: see {@link HearingTime.between}.
 *
 * It is a clock as well, which shows no step before a look has noticed it: who judges by {@link HearingTime.now} and
 * {@link HearingTime.between} knows of each step before its effects.
 *
 * After a gap devices need some time to be heard again, for what they sent meanwhile was lost: see {@link isSettled}.
 */
export class HearingTime implements Clock, HeardTime {
  readonly #clock: MachineClock;
  readonly #graceMs: number;
  readonly #outages: Pick<OutageLog, "lost">;
  readonly #stepped: (step: ClockStep) => void;
  #spans: readonly HearingSpan[];
  #settledAtMs = 0;
  #last: Reading;

  constructor({ clock, graceMs, outages, before, stepped = () => undefined }: HearingTimeParts) {
    this.#clock = clock;
    this.#graceMs = graceMs;
    this.#outages = outages;
    this.#stepped = stepped;
    this.#last = readingOf(clock);
    const { wallMs } = this.#last;
    const lastHeardMs = before?.lastHeard?.getTime() ?? wallMs;
    const isGap = lastHeardMs < wallMs - longestLookMs;
    const spans = spansBefore(before?.steps ?? [], isGap ? lastHeardMs : wallMs);
    this.#spans = isGap ? [...spans, { ...lastOf(spans), fromMs: wallMs, toMs: wallMs }] : spans;
  }

  /** Milliseconds in which devices could be heard, from when this replica began to the last look. */
  get ms(): number {
    return this.#span.heardMs;
  }

  /** Whether devices have had the time to be heard since the last gap, and the clock to be put right if it was wrong. */
  get isSettled(): boolean {
    return this.ms >= this.#settledAtMs;
  }

  now(): Date {
    return new Date(this.#last.wallMs + this.#sinceLookMs);
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  /**
   * For how long, in milliseconds, devices could be heard between two times of the clock. Where the clock was set back and
   * so showed a time twice, the later one is meant: it is never more than there was.
   */
  between(from: Date | number, to: Date | number = this.now()): number {
    return Math.max(0, this.#heardAt(Number(to)) - this.#heardAt(Number(from)));
  }

  /** The time of the clock since which devices could be heard for so many milliseconds. */
  ago(ms: number): Date {
    const heardMs = this.#heardAt(this.now().getTime()) - ms;
    const span = this.#spans.findLast(({ fromMs, toMs, heardMs: end }) => end - (toMs - fromMs) <= heardMs);
    const { toMs, heardMs: endMs } = span ?? (this.#spans[0] as HearingSpan);
    return new Date(toMs - (endMs - heardMs));
  }

  /** How long ago something was at a time of the clock, in milliseconds, whether or not devices could be heard since. */
  elapsed(from: Date | number, to: Date | number = this.now()): number {
    const set = this.#spanOf(Number(to)).setByMs - this.#spanOf(Number(from)).setByMs;
    return Number(to) - Number(from) - set;
  }

  /** Says that devices can be heard now. Called about every second. */
  look(): void {
    const reading = readingOf(this.#clock);
    const last = this.#last;
    this.#last = reading;
    const passedMs = reading.monotonicMs - last.monotonicMs;
    const steppedMs = reading.wallMs - last.wallMs - passedMs;
    const setByMs = reading.wallMs - last.wallMs - (reading.sinceBootMs - last.sinceBootMs);
    const isDeaf = passedMs > longestLookMs;
    const countedMs = isDeaf ? 0 : passedMs;
    const span = this.#span;
    const heardMs = span.heardMs + countedMs;
    if (!isDeaf && Math.abs(steppedMs) < leastStepMs) {
      this.#spans = [...this.#spans.slice(0, -1), { ...span, toMs: reading.wallMs, heardMs }];
      return;
    }
    const isSet = Math.abs(setByMs) >= leastStepMs;
    if (isSet) this.#stepped({ fromMs: reading.wallMs - setByMs, toMs: reading.wallMs });
    const next = {
      fromMs: reading.wallMs - countedMs,
      toMs: reading.wallMs,
      heardMs,
      setByMs: span.setByMs + (isSet ? setByMs : 0),
    };
    this.#spans = [...this.#spans.slice(1 - maxSpans), next];
    if (isDeaf || Math.abs(steppedMs) > longestLookMs) this.#settledAtMs = heardMs + this.#graceMs;
    if (steppedMs > longestLookMs) this.#outages.lost(reading.wallMs - steppedMs, reading.wallMs);
  }

  /** The span that goes on. */
  get #span(): HearingSpan {
    return lastOf(this.#spans);
  }

  get #sinceLookMs(): number {
    return this.#clock.monotonicMs() - this.#last.monotonicMs;
  }

  /** How far this time was at a time of the clock; in a gap, as far as before it. */
  #heardAt(ms: number): number {
    const span = this.#spanOf(ms);
    const { toMs, heardMs } = span;
    if (ms <= toMs) return heardMs - (toMs - ms);
    if (span !== this.#span) return heardMs;
    // Nobody has looked yet: it may be a gap.
    const sinceLookMs = this.#sinceLookMs;
    return sinceLookMs > longestLookMs ? heardMs : heardMs + Math.min(ms - toMs, sinceLookMs);
  }

  /** The last span in which the clock showed a time; else the last one that ended before it. */
  #spanOf(ms: number): HearingSpan {
    const span = this.#span;
    // It goes on past its last look: what a clock that was set back shows now, it may have shown in an earlier one as well.
    if (span.fromMs <= ms && ms <= this.now().getTime() + leastStepMs) return span;
    const begun = this.#spans.filter(({ fromMs }) => fromMs <= ms);
    return begun.findLast(({ toMs }) => ms <= toMs) ?? begun.at(-1) ?? (this.#spans[0] as HearingSpan);
  }
}

/** There is always one. */
function lastOf(spans: readonly HearingSpan[]): HearingSpan {
  return spans[spans.length - 1] as HearingSpan;
}

interface Reading {
  readonly wallMs: number;
  readonly monotonicMs: number;
  readonly sinceBootMs: number;
}

function readingOf(clock: MachineClock): Reading {
  return {
    wallMs: clock.now().getTime(),
    monotonicMs: clock.monotonicMs(),
    sinceBootMs: clock.sinceBootMs(),
  };
}

/** More than that between two looks, or between two clocks, and nobody can have been heard. */
const longestLookMs = 10_000;

/** By less the clock is not set, but corrected. */
const leastStepMs = 1_000;

/** Gaps that are remembered: the oldest are the ones that the fewest times lie before. */
const maxSpans = 64;
