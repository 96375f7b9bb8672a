import { finishedOf, isComplete, isEmpty, type JudgedRing, minFailures, unwellOf } from "./gate-samples.ts";
import { isOverThreshold, successShare } from "./gate-shares.ts";
import { heldAgainst, percent, seconds, thresholdLimit } from "./gate-words.ts";
import type { RolloutHealthVerdict } from "./health-verdict.ts";
import { withoutKey } from "./key-votes.ts";
import type { StoredPolicy } from "./rollout.entity.ts";
import { isApproved, type Ring } from "./rollout.ts";

/** One rule of a gate with its value; see the contract's GateCheck. */
export interface GateCheck {
  readonly rule:
    | "min_sample"
    | "min_success_percent"
    | "soak_duration"
    | "require_no_worse_health"
    | "require_approval"
    | "manual";
  readonly holds: boolean;
  readonly required: string;
  readonly actual: string;
  /** What is missing; empty if it holds. */
  readonly message: string;
}

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

function check(
  rule: GateCheck["rule"],
  holds: boolean,
  required: string,
  actual: string,
  words: () => string = () => "",
): GateCheck {
  return { rule, holds, required, actual, message: holds ? "" : words() };
}

const healthWords = { NOT_ENOUGH_DATA: "not enough data", NO_WORSE: "no worse", WORSE: "worse" } as const;
