import { type GateContext, gateChecks } from "./gate-checks.ts";
import { type JudgedRing, smallRingDueAt } from "./gate-samples.ts";
import type { StoredPolicy } from "./rollout.entity.ts";
import { stopVerdict } from "./stop-rules.ts";

/** What a ring's counters say at a moment. */
export interface RingVerdict {
  /**
   * `wait`: the gate does not hold yet; `promote`: it holds; `manual`: it holds and an operator must promote;
   * `rollback` and `pause`: too many failures or bad health, and what is to be done then.
   */
  readonly verdict: "wait" | "promote" | "manual" | "rollback" | "pause";
  /** Whether sample and success share are reached, the soak time aside; it runs while this is true. */
  readonly held: boolean;
  /** What is missing, or for `rollback` and `pause` which rule fired with which numbers: in words. */
  readonly missing: readonly string[];
  /** When the verdict may change without a counter changing: the end of the soak time. */
  readonly dueAtMs: number | undefined;
  /** Whether health, not failures, is behind `rollback` or `pause`. */
  readonly byHealth?: boolean;
}

/**
 * Judges a ring that was reached. Pure: the same numbers give the same verdict.
 *
 * What is judged are the devices that began to install. Failures come first, and a device that is missing, since it began
 * to install and is not heard any more, is held against the ring like one that failed, until it is back. The share of failed
 * and missing devices must exceed the threshold, and counts from `failureMinSample` finished or missing devices and two of
 * them on: one device alone rolls no fleet back unless the sample is one. A ring may be smaller than that sample: once all
 * of its devices were heard of (or, of those that asked for it so far, once it has been open for its soak time), the share counts from two on, so a canary
 * ring of three devices can roll an update back; with one failed or missing device of two it pauses, as only a person can
 * tell what that means. `failureCountLimit` counts by itself. Failures that an operator accepted by resuming are not held against
 * the ring again until more come. What fires only by the devices of one enrolment key pauses and rolls nothing back: see
 * `withoutKey`. In a young ring the share is that of all devices that are or were updating: see `countedOf`. Then health: "worse" is acted upon as the policy says.
 *
 * Then the gate: the least sample, the least share of successes, both also without the devices of any one enrolment key, no
 * more failed and missing devices than the threshold allows, there and in the rings before, also where they are too few for it to be stopped, and held for the soak time without a break; then health, approval of the next ring, and the operator where it is manual.
 * A sample means that many devices or all there are in the ring, as they were last counted; a ring that holds nobody passes
 * at once. Past the last ring the rollout is complete, so its soak time begins only when none of its devices is updating any more.
 */
export function evaluateRing(
  ring: JudgedRing,
  policy: Readonly<StoredPolicy>,
  now: Date,
  context: GateContext = {},
): RingVerdict {
  const stop = stopVerdict(ring, policy, now, context);
  if (stop !== undefined) return { ...stop, held: false, dueAtMs: undefined };
  const checks = gateChecks(ring, policy, now, context);
  const missing = checks.filter(({ holds }) => !holds);
  const unheld = missing.filter(({ rule }) => rule === "min_sample" || rule === "min_success_percent");
  const held = unheld.length === 0;
  const words = (held ? missing : unheld).map(({ message }) => message);
  if (!held) return { verdict: "wait", held, missing: words, dueAtMs: smallRingDueAt(ring, policy, now) };
  if (missing.some(({ rule }) => rule === "soak_duration")) {
    const dueAtMs = (ring.gateHeldSince ?? now).getTime() + ring.gate.soakMs;
    return { verdict: "wait", held, missing: words, dueAtMs };
  }
  const verdict =
    words.length === 0 ? "promote" : missing.every(({ rule }) => rule === "manual") ? "manual" : "wait";
  return { verdict, held, missing: words, dueAtMs: undefined };
}
