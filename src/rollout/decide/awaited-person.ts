import type { GateCheck } from "../model/gate-checks.ts";
import { awaitedApproval, type Ring, type Rollout } from "../model/rollout.ts";
import { stuckAlert } from "../model/stuck-alert.ts";

/**
 * Whom a rollout waits for whose front ring's gate holds but for a person, in words: who has to approve, promote, or judge the
 * health of its devices; empty as long as something may happen by itself.
 */
export function awaitedPerson(
  rollout: Rollout,
  front: Ring,
  checks: readonly GateCheck[],
  now: Date,
): string {
  const lacking = new Map(checks.filter(({ holds }) => !holds).map((each) => [each.rule, each]));
  if (lacking.size === 0 || lacking.has("soak_duration")) return "";
  const health = lacking.get("require_no_worse_health");
  if (health !== undefined) {
    const why = health.actual === "worse" ? "worse" : "too little known";
    const words = `ring ${front.name} passes but for the health of its devices, which is ${why}; an operator can promote it, roll it back or abort it`;
    // More may come to be known for a while. What is said already is not taken back for that.
    const isNew = now.getTime() - (front.gateHeldSince ?? now).getTime() < front.gate.soakMs + patienceMs;
    return health.actual !== "worse" && isNew && rollout.alert !== stuckAlert(words) ? "" : words;
  }
  if (lacking.has("require_approval")) return awaitedApprover(rollout);
  if (!lacking.has("manual")) return "";
  const next = rollout.rings[front.position + 1];
  const effect = next === undefined ? "which completes it" : `which opens ring ${next.name}`;
  return `the gate of ring ${front.name} holds, and is manual; an operator can promote it, ${effect}`;
}

/** Who has to approve the next ring, in words. */
export function awaitedApprover(rollout: Rollout): string {
  const ring = awaitedApproval(rollout);
  if (ring === undefined) return "";
  return `ring ${ring.name} needs an approval before it opens; an operator other than ${rollout.creator}, its creator, can approve it`;
}

/** How long health may stay unknown, once all else holds, until it is said. */
const patienceMs = 10 * 60_000;
