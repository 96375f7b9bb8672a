import type { StoredPolicy } from "./rollout.entity.ts";
import type { Ring, RingCounters } from "./rollout.ts";

/** What a ring's counters say at a moment. */
export interface RingVerdict {
  /**
   * `wait`: the gate does not hold yet; `promote`: it holds; `manual`: it holds and an operator must promote;
   * `rollback` and `pause`: too many failures, and what the policy wants done then.
   */
  readonly verdict: "wait" | "promote" | "manual" | "rollback" | "pause";
  /** Whether sample and success share are reached, the soak time aside; it runs while this is true. */
  readonly held: boolean;
  /** What is missing, or for `rollback` and `pause` which rule fired with which numbers: in words. */
  readonly missing: readonly string[];
  /** When the verdict may change without a counter changing: the end of the soak time. */
  readonly dueAtMs: number | undefined;
}

/** What {@link evaluateRing} judges. */
export type JudgedRing = Pick<Ring, "name" | "counters" | "gate" | "gateHeldSince" | "openedAt">;

/**
 * Judges a ring that was reached. Pure: the same numbers give the same verdict.
 *
 * Failures come first. The share of failed among finished devices must exceed the threshold, and counts from
 * `failureMinSample` finished devices on. A ring may be smaller than that sample: once none of its devices is in progress
 * and it has been open for its soak time, the share counts from two failures on, so a canary ring of three devices can
 * take an update back, and one failed device of two cannot. `failureCountLimit` counts by itself. Failures that an
 * operator accepted by resuming are not held against the ring again until more come.
 *
 * Then the gate: the least sample, the least share of successes, and both of them held for the soak time without a break.
 * Past the last ring the rollout is complete, so its soak time begins only when none of its devices is at it any more.
 */
export function evaluateRing(
  ring: JudgedRing,
  policy: Readonly<StoredPolicy>,
  now: Date,
  isLast = false,
): RingVerdict {
  const broken = brokenRule(ring, policy, now);
  if (broken !== undefined) {
    const verdict = policy.pauseOnFailure ? "pause" : "rollback";
    return { verdict, held: false, missing: [broken], dueAtMs: undefined };
  }
  const { gate, gateHeldSince } = ring;
  const missing = missingOf(ring, isLast);
  if (missing.length > 0) {
    return { verdict: "wait", held: false, missing, dueAtMs: smallRingDueAt(ring, policy, now) };
  }
  const heldSinceMs = (gateHeldSince ?? now).getTime();
  const dueAtMs = heldSinceMs + gate.soakMs;
  if (dueAtMs > now.getTime()) {
    const left = seconds(dueAtMs - now.getTime());
    const soak = `must hold for ${seconds(gate.soakMs)}, ${left} to go`;
    return { verdict: "wait", held: true, missing: [soak], dueAtMs };
  }
  if (gate.manual) {
    const words = "holds; an operator has to promote";
    return { verdict: "manual", held: true, missing: [words], dueAtMs: undefined };
  }
  return { verdict: "promote", held: true, missing: [], dueAtMs: undefined };
}

/** Devices whose update came to an end that counts: succeeded or failed. */
export function finishedOf({ succeeded, failed }: RingCounters): number {
  return succeeded + failed;
}

/** Below this many failures a ring that is smaller than the sample never fails by share. */
const smallRingMinFailures = 2;

function brokenRule(ring: JudgedRing, policy: Readonly<StoredPolicy>, now: Date): string | undefined {
  const { failed } = ring.counters;
  if (failed === 0 || failed <= (ring.gate.acceptedFailures ?? 0)) return undefined;
  const { failureCountLimit, failureThresholdPercent } = policy;
  if (failureCountLimit !== null && failed >= failureCountLimit) {
    return `ring ${ring.name}: ${failed} devices failed, the limit is ${failureCountLimit}`;
  }
  const finished = finishedOf(ring.counters);
  const share = (failed / finished) * 100;
  if (!(share > failureThresholdPercent) || !countsBySample(ring, policy, now)) return undefined;
  return `ring ${ring.name}: ${failed} of ${finished} finished devices failed (${percent(share)}), the threshold is ${percent(failureThresholdPercent)}`;
}

function countsBySample(ring: JudgedRing, policy: Readonly<StoredPolicy>, now: Date): boolean {
  const { counters, gate, openedAt } = ring;
  if (finishedOf(counters) >= policy.failureMinSample) return true;
  const openMs = openedAt === undefined ? 0 : now.getTime() - openedAt.getTime();
  return counters.inProgress === 0 && counters.failed >= smallRingMinFailures && openMs >= gate.soakMs;
}

/** When a ring with failures but too small a sample has been open for its soak time. */
function smallRingDueAt(ring: JudgedRing, policy: Readonly<StoredPolicy>, now: Date): number | undefined {
  const { counters, gate, openedAt } = ring;
  if (openedAt === undefined || counters.failed < smallRingMinFailures) return undefined;
  if (finishedOf(counters) >= policy.failureMinSample) return undefined;
  const dueAtMs = openedAt.getTime() + gate.soakMs;
  return dueAtMs > now.getTime() ? dueAtMs : undefined;
}

function missingOf({ counters, gate }: JudgedRing, isLast: boolean): string[] {
  const finished = finishedOf(counters);
  const missing: string[] = [];
  if (finished < gate.minSample) {
    missing.push(`needs ${gate.minSample} finished devices, has ${finished}`);
  }
  const share = finished === 0 ? 100 : (counters.succeeded / finished) * 100;
  if (share < gate.minSuccessPercent) {
    missing.push(`needs ${percent(gate.minSuccessPercent)} successes, has ${percent(share)}`);
  }
  if (isLast && counters.inProgress > 0) missing.push(`${counters.inProgress} devices are still at it`);
  return missing;
}

function percent(value: number): string {
  return `${Number(value.toFixed(2))} %`;
}

function seconds(ms: number): string {
  return `${Math.ceil(ms / 1000)} s`;
}
