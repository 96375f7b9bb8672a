import { devicesText } from "./devices-text.ts";
import { check, type GateCheck, percent, seconds } from "./gate-check.ts";
import { withoutKey } from "./key-votes.ts";
import type { StoredPolicy } from "./rollout.entity.ts";
import { isApproved, type KeyCounters, type Ring, type RingCensusCounts } from "./rollout.ts";
import type { RingCounters } from "./rollout-counters.ts";

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

/** How a rollout's updated devices fare against the others. */
export interface RolloutHealthVerdict {
  readonly verdict: "NOT_ENOUGH_DATA" | "NO_WORSE" | "WORSE";
  /** In words, with the numbers. */
  readonly message: string;
}

/** Says how rollouts' devices fare; undefined as long as nothing is known. */
export interface RolloutHealthSource {
  verdictOf(rolloutId: string): RolloutHealthVerdict | undefined;
}

/** What {@link evaluateRing} judges. */
export type JudgedRing = Pick<Ring, "name" | "counters" | "gate" | "gateHeldSince" | "openedAt"> & {
  readonly keys?: readonly KeyCounters[] | undefined;
  readonly state?: Ring["state"] | undefined;
  readonly census?: Pick<RingCensusCounts, "awaited"> | undefined;
};

/** What else than the ring itself counts. */
export interface GateContext {
  /** Whether it is the last ring. */
  readonly isLast?: boolean | undefined;
  /** The rings before it. */
  readonly before?: readonly JudgedRing[] | undefined;
  /** The ring that opens next. */
  readonly next?: Pick<Ring, "name" | "gate" | "approver"> | undefined;
  readonly health?: RolloutHealthVerdict | undefined;
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
 * {@link withoutKey}. In a young ring the share is that of all devices that are or were updating: see {@link countedOf}. Then health: "worse" is acted upon as the policy says.
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

/** Each rule of a ring's gate with its value now, in the order in which they are judged. */
export function gateChecks(
  ring: JudgedRing,
  policy: Readonly<StoredPolicy>,
  now: Date,
  { isLast = false, before = [], next, health }: GateContext = {},
): GateCheck[] {
  const { gate, gateHeldSince, counters } = ring;
  const sample = sampleCheck(ring, policy, isLast);
  const success = successCheck(ring, before, policy);
  const checks = [sample, success];
  const heldMs = sample.holds && success.holds ? now.getTime() - (gateHeldSince ?? now).getTime() : 0;
  // Nobody shows anything in that time; but whoever asks for no device at all asks for the time alone.
  const soakMs = isEmpty(ring) && gate.minSample > 0 ? 0 : gate.soakMs;
  const leftMs = soakMs - heldMs;
  checks.push(
    check(
      "soak_duration",
      leftMs <= 0,
      seconds(soakMs),
      seconds(heldMs),
      () => `must hold for ${seconds(gate.soakMs)}, ${seconds(leftMs)} to go`,
    ),
  );
  if (gate.requireNoWorseHealth || health?.verdict === "WORSE") {
    const verdict = health?.verdict ?? "NOT_ENOUGH_DATA";
    checks.push(
      check("require_no_worse_health", verdict === "NO_WORSE", "no worse", healthWords[verdict], () =>
        verdict === "WORSE"
          ? `health is worse: ${health?.message}`
          : "too little is known of the devices' health",
      ),
    );
  }
  if (next?.gate.requireApproval === true) {
    const actual = next.approver === "" ? "nobody approved" : `approved by ${next.approver}`;
    checks.push(
      check(
        "require_approval",
        isApproved(next),
        `an approval of ring ${next.name}`,
        actual,
        () => `holds; ring ${next.name} needs an approval`,
      ),
    );
  }
  if (gate.manual) {
    const words = counters.offered === 0 ? "an operator has to promote" : "holds; an operator has to promote";
    checks.push(check("manual", false, "an operator promotes", "not promoted", () => words));
  }
  return checks;
}

/** Devices whose update came to an end that counts: succeeded or failed. */
function finishedOf({ succeeded, failed }: Pick<RingCounters, "succeeded" | "failed">): number {
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
const minFailures = 2;

const healthWords = { NOT_ENOUGH_DATA: "not enough data", NO_WORSE: "no worse", WORSE: "worse" } as const;

function stopVerdict(
  ring: JudgedRing,
  policy: Readonly<StoredPolicy>,
  now: Date,
  { health }: GateContext,
): Pick<RingVerdict, "verdict" | "missing" | "byHealth"> | undefined {
  const action = policy.pauseOnFailure ? "pause" : "rollback";
  const rule = brokenRule(ring, policy, now);
  if (rule !== undefined) {
    for (const key of ring.keys ?? []) {
      const others = withoutKey(ring, key, policy);
      if (others === undefined || brokenRule(others, policy, now) !== undefined) continue;
      const doubt = `${unwellOf(key)} of the ${unwellOf(ring.counters)} were enrolled with key ${key.keyId}, and the others alone would not stop it: a person has to look`;
      return { verdict: "pause", missing: [rule, doubt] };
    }
    return { verdict: action, missing: [rule] };
  }
  const lone = loneFailure(ring, policy, now);
  if (lone !== undefined) return { verdict: "pause", missing: [lone] };
  if (health?.verdict !== "WORSE" || policy.onWorseHealth === "NONE" || ring.gate.acceptedWorse === true)
    return undefined;
  const wanted = { DEFAULT: action, PAUSE: "pause", ROLLBACK: "rollback" } as const;
  return {
    verdict: wanted[policy.onWorseHealth],
    missing: [`health is worse: ${health.message}`],
    byHealth: true,
  };
}

function brokenRule(ring: JudgedRing, policy: Readonly<StoredPolicy>, now: Date): string | undefined {
  const unwell = unwellOf(ring.counters);
  if (unwell === 0 || unwell <= (ring.gate.acceptedFailures ?? 0)) return undefined;
  const { failureCountLimit } = policy;
  if (failureCountLimit !== null && unwell >= failureCountLimit) {
    const { began } = ring.counters;
    return `ring ${ring.name}: of ${devicesText(began)} that began, ${unwellWords(ring.counters)}, the limit is ${failureCountLimit}`;
  }
  if (!exceedsThreshold(ring, policy, now) || !countsBySample(ring, policy, now)) return undefined;
  return thresholdWords(ring, policy);
}

/** What a small ring stops for where a share cannot: all of its devices were heard of but for one that failed or is missing. */
function loneFailure(ring: JudgedRing, policy: Readonly<StoredPolicy>, now: Date): string | undefined {
  const unwell = unwellOf(ring.counters);
  // Its gate held before, or somebody promoted it.
  if (ring.state === "PASSED") return undefined;
  if (unwell === 0 || unwell >= minFailures || unwell <= (ring.gate.acceptedFailures ?? 0)) return undefined;
  if (!exceedsThreshold(ring, policy, now) || !isAllHeardOf(ring, now)) return undefined;
  return `${thresholdWords(ring, policy)}; one device alone takes no fleet back: a person has to look`;
}

function exceedsThreshold(ring: JudgedRing, policy: Readonly<StoredPolicy>, now: Date): boolean {
  return (unwellOf(ring.counters) / countedOf(ring, policy, now)) * 100 > policy.failureThresholdPercent;
}

/** Whether no ring may open after this one, even where too few are known to have failed for it to be stopped. */
function isOverThreshold({ counters, gate }: JudgedRing, policy: Readonly<StoredPolicy>): boolean {
  const unwell = unwellOf(counters);
  if (unwell <= (gate.acceptedFailures ?? 0)) return false;
  return (unwell / counters.began) * 100 > policy.failureThresholdPercent;
}

function thresholdWords({ name, counters }: JudgedRing, policy: Readonly<StoredPolicy>): string {
  const share = percent((unwellOf(counters) / counters.began) * 100);
  const threshold = percent(policy.failureThresholdPercent);
  return `ring ${name}: of ${devicesText(counters.began)} that began, ${unwellWords(counters)} (${share}), the threshold is ${threshold}`;
}

function unwellWords({ failed, missing }: RingCounters): string {
  if (missing === 0) return `${failed} failed`;
  const silent = `${missing} ${missing === 1 ? "is" : "are"} missing`;
  return failed === 0 ? silent : `${failed} failed and ${silent}`;
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

function countsBySample(ring: JudgedRing, policy: Readonly<StoredPolicy>, now: Date): boolean {
  const unwell = unwellOf(ring.counters);
  if (unwell < Math.min(minFailures, policy.failureMinSample)) return false;
  if (judgedOf(ring.counters) >= policy.failureMinSample) return true;
  return unwell >= minFailures && isAllHeardOf(ring, now);
}

/**
 * Whether nobody is left in the ring who may be heard of soon: all of its devices were, or else those that are still to ask for
 * the update have had the soak time for it.
 */
function isAllHeardOf(ring: JudgedRing, now: Date): boolean {
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
function smallRingDueAt(ring: JudgedRing, policy: Readonly<StoredPolicy>, now: Date): number | undefined {
  const { counters, gate, openedAt } = ring;
  if (openedAt === undefined || unwellOf(counters) === 0) return undefined;
  if (judgedOf(counters) >= policy.failureMinSample) return undefined;
  const dueAtMs = openedAt.getTime() + gate.soakMs;
  return dueAtMs > now.getTime() ? dueAtMs : undefined;
}

function sampleCheck(ring: JudgedRing, policy: Readonly<StoredPolicy>, isLast: boolean): GateCheck {
  const { counters, gate } = ring;
  const finished = finishedOf(counters);
  const required = `${gate.minSample} finished devices`;
  if (isEmpty(ring)) return check("min_sample", true, `${required}, or all there are`, "no device is in it");
  if (finished < gate.minSample && !isComplete(ring)) {
    return check("min_sample", false, required, String(finished), () => `needs ${required}, has ${finished}`);
  }
  if (isLast && counters.inProgress > 0) {
    const missing = counters.missing === 0 ? "" : `, ${counters.missing} of them missing`;
    const words = `${counters.inProgress} devices are still updating${missing}`;
    return check("min_sample", false, `${required}, none updating`, `${finished}, ${words}`, () => words);
  }
  for (const key of ring.keys ?? []) {
    const others = withoutKey(ring, key, policy);
    if (others === undefined || counters.inProgress === 0) continue;
    const finishedOthers = finishedOf(others.counters);
    const needed = Math.min(gate.minSample, others.counters.offered);
    if (finishedOthers >= needed) continue;
    const words = `needs ${needed} finished devices that were not enrolled with key ${key.keyId}, has ${finishedOthers}`;
    return check("min_sample", false, required, String(finished), () => words);
  }
  return check("min_sample", true, required, String(finished));
}

function successCheck(
  ring: JudgedRing,
  before: readonly JudgedRing[],
  policy: Readonly<StoredPolicy>,
): GateCheck {
  const { counters, gate } = ring;
  const required = percent(gate.minSuccessPercent);
  const share = successShare(counters);
  const actual = percent(share);
  if (share < gate.minSuccessPercent) {
    const words = `needs ${required} successes, has ${actual}: ${heldAgainst(counters)}`;
    return check("min_success_percent", false, required, actual, () => words);
  }
  if (isOverThreshold(ring, policy)) {
    return check("min_success_percent", false, required, actual, () => thresholdLimit(counters, policy));
  }
  for (const other of before) {
    // One alone is chance: it passed in spite of it, or fared well until then.
    if (unwellOf(other.counters) < minFailures || !isOverThreshold(other, policy)) continue;
    const words = `has ring ${other.name} before it, which ${thresholdLimit(other.counters, policy)}`;
    return check("min_success_percent", false, required, actual, () => words);
  }
  for (const key of ring.keys ?? []) {
    const others = withoutKey(ring, key, policy);
    if (others === undefined || successShare(others.counters) >= gate.minSuccessPercent) continue;
    const words = `needs ${required} successes also without the devices that were enrolled with key ${key.keyId}, has ${percent(successShare(others.counters))}`;
    return check("min_success_percent", false, required, actual, () => words);
  }
  return check("min_success_percent", true, required, actual);
}

function thresholdLimit(counters: RingCounters, policy: Readonly<StoredPolicy>): string {
  return `may have at most ${percent(policy.failureThresholdPercent)} failed or missing: ${heldAgainst(counters)}`;
}

/** Of the devices that began: who is silent, has not come back from its reboot yet, or fell back since, has not succeeded. */
function successShare({ succeeded, drifted, began }: RingCounters): number {
  return began === 0 ? 100 : ((succeeded - drifted) / began) * 100;
}

/** Why not all of the devices that began have succeeded. */
function heldAgainst(counters: RingCounters): string {
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
