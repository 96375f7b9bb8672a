import type { StoredPolicy } from "./rollout.entity.ts";
import type { KeyCounters, Ring, RingCensusCounts } from "./rollout.ts";
import type { RingCounters } from "./rollout-counters.ts";

/** A ring as its gate judges it. */
export type JudgedRing = Pick<Ring, "name" | "counters" | "gate" | "gateHeldSince" | "openedAt"> & {
  readonly keys?: readonly KeyCounters[] | undefined;
  readonly state?: Ring["state"] | undefined;
  readonly census?: Pick<RingCensusCounts, "awaited"> | undefined;
};

/** Devices whose update came to an end that counts: succeeded or failed. */
export function finishedOf({ succeeded, failed }: Pick<RingCounters, "succeeded" | "failed">): number {
  return succeeded + failed;
}

/** Devices that failed or are missing: what is held against a ring. */
export function unwellOf({ failed, missing }: Pick<RingCounters, "failed" | "missing">): number {
  return failed + missing;
}

/** Devices of which nothing more is expected to be heard soon: finished or missing. */
function judgedOf(counters: RingCounters): number {
  return finishedOf(counters) + counters.missing;
}

/** Devices that may still be heard of soon: in progress and not missing. */
function expectedOf({ inProgress, missing }: RingCounters): number {
  return inProgress - missing;
}

/** Below this many failures no share rolls a fleet back. */
export const minFailures = 2;

/** Whether so many were heard of that the share of the failed and missing ones counts. */
export function countsBySample(ring: JudgedRing, policy: Readonly<StoredPolicy>, now: Date): boolean {
  const unwell = unwellOf(ring.counters);
  if (unwell < Math.min(minFailures, policy.failureMinSample)) return false;
  if (judgedOf(ring.counters) >= policy.failureMinSample) return true;
  return unwell >= minFailures && isAllHeardOf(ring, now);
}

/**
 * Whether nobody is left in the ring who may be heard of soon: all of its devices were, or else those that are still to ask for
 * the update have had the soak time for it.
 */
export function isAllHeardOf(ring: JudgedRing, now: Date): boolean {
  const { counters, gate, openedAt } = ring;
  const openMs = openedAt === undefined ? 0 : now.getTime() - openedAt.getTime();
  return isComplete(ring) || (expectedOf(counters) === 0 && openMs >= gate.soakMs);
}

/** Whether all devices that the ring holds were heard of: a sample cannot be larger than that. */
export function isComplete({ counters, census }: JudgedRing): boolean {
  return census?.awaited === 0 && expectedOf(counters) === 0;
}

/** Whether there is nobody in the ring to be judged or waited for. */
export function isEmpty(ring: JudgedRing): boolean {
  return isComplete(ring) && ring.counters.began === 0;
}

/** When a ring with failures but too small a sample has been open for its soak time. */
export function smallRingDueAt(
  ring: JudgedRing,
  policy: Readonly<StoredPolicy>,
  now: Date,
): number | undefined {
  const { counters, gate, openedAt } = ring;
  if (openedAt === undefined || unwellOf(counters) === 0) return undefined;
  if (judgedOf(counters) >= policy.failureMinSample) return undefined;
  const dueAtMs = openedAt.getTime() + gate.soakMs;
  return dueAtMs > now.getTime() ? dueAtMs : undefined;
}
