/** Time that passed without a gap, by the clock that all replicas share. */
export interface HearingSpan {
  readonly fromMs: number;
  readonly toMs: number;
  /** How far the time in which devices could be heard was at its end. */
  readonly heardMs: number;
  /** By how much the clock was set before it, all in all. */
  readonly setByMs: number;
}

/** The shared clock was set: it showed `toMs` where it would have shown `fromMs`. */
export interface ClockStep {
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * The spans until a device was last heard, at 0 of the time in which devices could be heard: one after each step of the clock,
 * oldest first, and one before them all. Of what stands twice, for two replicas noted it, only the first counts.
 */
export function spansBefore(steps: readonly ClockStep[], lastHeardMs: number): HearingSpan[] {
  const once = steps.filter((step, at) => !steps.slice(0, at).some((earlier) => isSame(earlier, step)));
  const spans: HearingSpan[] = [];
  let [endMs, heardMs] = [lastHeardMs, 0];
  let setByMs = once.reduce((sum, step) => sum + sizeOf(step), 0);
  for (const step of once.toReversed()) {
    const toMs = Math.max(endMs, step.toMs);
    spans.unshift({ fromMs: step.toMs, toMs, heardMs, setByMs });
    heardMs -= toMs - step.toMs;
    setByMs -= sizeOf(step);
    endMs = step.fromMs;
  }
  return [{ fromMs: Number.NEGATIVE_INFINITY, toMs: endMs, heardMs, setByMs }, ...spans];
}

/** By how much a step set the clock forward, in milliseconds. */
function sizeOf({ fromMs, toMs }: ClockStep): number {
  return toMs - fromMs;
}

/** Whether two replicas noted one step: each notices it by a look of its own. */
function isSame(one: ClockStep, other: ClockStep): boolean {
  const apartMs = Math.min(looksApartMs, Math.abs(sizeOf(one)) / 2);
  return Math.abs(sizeOf(one) - sizeOf(other)) < 1_000 && Math.abs(one.toMs - other.toMs) <= apartMs;
}

/** Replicas look about every second, and one that stands still notices a step later. */
const looksApartMs = 60_000;
