import { devicesText } from "./devices-text.ts";
import type { GateContext } from "./gate-checks.ts";
import { countsBySample, isAllHeardOf, type JudgedRing, minFailures, unwellOf } from "./gate-samples.ts";
import { exceedsThreshold } from "./gate-shares.ts";
import { thresholdWords, unwellWords } from "./gate-words.ts";
import { withoutKey } from "./key-votes.ts";
import type { StoredPolicy } from "./rollout.entity.ts";

/** Why a ring is stopped, and what is to be done then. */
interface StopVerdict {
  readonly verdict: "rollback" | "pause";
  /** Which rule fired with which numbers, in words. */
  readonly missing: readonly string[];
  /** Whether health, not failures, is behind it. */
  readonly byHealth?: boolean;
}

/** Whether a ring has to be stopped: for its failures first, then for its devices' health. */
export function stopVerdict(
  ring: JudgedRing,
  policy: Readonly<StoredPolicy>,
  now: Date,
  { health }: GateContext,
): StopVerdict | undefined {
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

/** The rule that a ring broke, with its numbers in words; undefined if none. */
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
