import { finishedOf, type JudgedRing, unwellOf } from "./gate-samples.ts";
import type { StoredPolicy } from "./rollout.entity.ts";
import type { RingCounters } from "./rollout-counters.ts";

/** Of the devices that began: who is silent, has not come back from its reboot yet, or fell back since, has not succeeded. */
export function successShare({ succeeded, drifted, began }: RingCounters): number {
  return began === 0 ? 100 : ((succeeded - drifted) / began) * 100;
}

/** Whether more than the policy allows failed or are missing, whatever the sample. */
export function exceedsThreshold(ring: JudgedRing, policy: Readonly<StoredPolicy>, now: Date): boolean {
  return (unwellOf(ring.counters) / countedOf(ring, policy, now)) * 100 > policy.failureThresholdPercent;
}

/** Whether no ring may open after this one, even where too few are known to have failed for it to be stopped. */
export function isOverThreshold({ counters, gate }: JudgedRing, policy: Readonly<StoredPolicy>): boolean {
  const unwell = unwellOf(counters);
  if (unwell <= (gate.acceptedFailures ?? 0)) return false;
  return (unwell / counters.began) * 100 > policy.failureThresholdPercent;
}

/**
 * The devices that failures are held against: those that began. A failure is told at once, and a device may begin long before
 * others do, so until a ring has been open for twice the watch (which leaves as long to download and install) and its soak
 * time, devices that are still to begin count as well: the first few to report cannot roll back what all others would do well.
 */
function countedOf(
  { counters, gate, openedAt }: JudgedRing,
  policy: Readonly<StoredPolicy>,
  now: Date,
): number {
  const openMs = openedAt === undefined ? 0 : now.getTime() - openedAt.getTime();
  const isYoung = openMs < 2 * policy.verificationMs + gate.soakMs;
  return isYoung ? finishedOf(counters) + counters.inProgress : counters.began;
}
