import { devicesText } from "./devices-text.ts";
import { type JudgedRing, unwellOf } from "./gate-samples.ts";
import type { StoredPolicy } from "./rollout.entity.ts";
import type { RingCounters } from "./rollout-counters.ts";

/** The share of a ring that failed or is missing, and what is allowed. */
export function thresholdWords({ name, counters }: JudgedRing, policy: Readonly<StoredPolicy>): string {
  const share = percent((unwellOf(counters) / counters.began) * 100);
  const threshold = percent(policy.failureThresholdPercent);
  return `ring ${name}: of ${devicesText(counters.began)} that began, ${unwellWords(counters)} (${share}), the threshold is ${threshold}`;
}

/** For example `2 failed and 1 is missing`. */
export function unwellWords({ failed, missing }: RingCounters): string {
  if (missing === 0) return `${failed} failed`;
  const silent = `${missing} ${missing === 1 ? "is" : "are"} missing`;
  return failed === 0 ? silent : `${failed} failed and ${silent}`;
}

/** Why not all of the devices that began have succeeded. */
export function heldAgainst(counters: RingCounters): string {
  const { began, succeeded, failed, missing, drifted } = counters;
  const counts = [
    [failed, "failed"],
    [missing, "missing"],
    [drifted, "drifted"],
    [began - succeeded - failed - missing, "to prove themselves"],
  ] as const;
  const others = counts.filter(([count]) => count > 0).map(([count, words]) => `${count} ${words}`);
  return `of ${began} that began, ${others.join(", ")}`;
}

/** What a ring breaks that has more failed and missing devices than the policy allows. */
export function thresholdLimit(counters: RingCounters, policy: Readonly<StoredPolicy>): string {
  return `may have at most ${percent(policy.failureThresholdPercent)} failed or missing: ${heldAgainst(counters)}`;
}

/** For example `12.5 %`. */
export function percent(value: number): string {
  return `${Number(value.toFixed(2))} %`;
}

/** Whole seconds, rounded up: `90 s`. */
export function seconds(ms: number): string {
  return `${Math.ceil(ms / 1000)} s`;
}
