import type { MachineClock } from "./clock.ts";

/** What happened to time between two looks, where it was not just passing. */
export interface ClockGap {
  /** When it was noticed, by the wall clock: right after it. */
  readonly noticedAt: Date;
  /**
   * For how long the service can have heard nobody, in milliseconds, 0 if it could: the machine slept, the process was
   * stopped, or its event loop was held up.
   */
  readonly deafMs: number;
  /** The part of {@link deafMs} in which the machine slept. */
  readonly asleepMs: number;
  /** By how much the wall clock was set, in milliseconds: forward, or back if negative; 0 if it was not. */
  readonly steppedMs: number;
}

/** How a {@link ClockWatch} looks. */
export interface ClockWatchOptions {
  readonly clock: MachineClock;
  /** How often {@link ClockWatch.look} is called, in milliseconds. */
  readonly lookEveryMs: number;
  /** What is shorter is not worth a word, in milliseconds; 2 s unless given. */
  readonly leastMs?: number;
}

/**
 * Notices when the machine slept, the process stood still or somebody set the wall clock, by comparing three clocks at every
 * look: the wall clock, the monotonic one, which stands still while the machine sleeps, and the time since its start.
 * What NTP corrects slowly is no step.
 */
export class ClockWatch {
  readonly #options: ClockWatchOptions;
  readonly #leastMs: number;
  readonly #listeners = new Set<(gap: ClockGap) => void>();
  #last: Reading;

  constructor(options: ClockWatchOptions) {
    this.#options = options;
    this.#leastMs = options.leastMs ?? 2_000;
    this.#last = readingOf(options.clock);
  }

  /** Is told of every gap; returns how to stop. Listeners must not throw and must not block. */
  onGap(listener: (gap: ClockGap) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Compares the clocks with those of the last look, and tells the listeners of a gap. */
  look(): void {
    const { clock, lookEveryMs } = this.#options;
    const reading = readingOf(clock);
    const last = this.#last;
    this.#last = reading;
    const awakeMs = reading.monotonicMs - last.monotonicMs;
    const passedMs = reading.sinceBootMs - last.sinceBootMs;
    const asleepMs = this.#worthTelling(Math.max(passedMs - awakeMs, 0));
    const heldMs = this.#worthTelling(Math.max(awakeMs - lookEveryMs, 0));
    const steppedMs = this.#worthTelling(reading.wallMs - last.wallMs - passedMs);
    if (asleepMs === 0 && heldMs === 0 && steppedMs === 0) return;
    const gap = { noticedAt: new Date(reading.wallMs), deafMs: asleepMs + heldMs, asleepMs, steppedMs };
    for (const listener of this.#listeners) listener(gap);
  }

  #worthTelling(ms: number): number {
    return Math.abs(ms) < this.#leastMs ? 0 : Math.round(ms);
  }
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
