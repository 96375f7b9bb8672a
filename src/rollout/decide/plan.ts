import { damagedWords } from "../../firmware/damaged-firmware.ts";
import { devicesText } from "../model/devices-text.ts";
import { driftAlert, isDriftAlert } from "../model/drift-alert.ts";
import { evaluateRing } from "../model/gate.ts";
import { gateChecks } from "../model/gate-checks.ts";
import { isComplete, isEmpty } from "../model/gate-samples.ts";
import type { RolloutHealthVerdict } from "../model/health-verdict.ts";
import { awaitedApproval, frontRing, isForNobody, type Ring, type Rollout } from "../model/rollout.ts";
import { isActive, isFinalRollout } from "../model/rollout-state.ts";
import { isStuckAlert, stuckAlert } from "../model/stuck-alert.ts";
import { awaitedApprover, awaitedPerson } from "./awaited-person.ts";

/** What is to be done with a rollout. */
export type Decision =
  /** The gate began to hold, or holds no more. */
  | { readonly kind: "note_gate"; readonly ring: Ring; readonly held: boolean }
  | { readonly kind: "promote"; readonly ring: Ring; readonly reason: string }
  | {
      readonly kind: "rollback" | "pause";
      readonly ring: Ring;
      readonly rule: string;
      readonly byHealth: boolean;
    }
  /** It cannot go on by itself, or can again. */
  | { readonly kind: "note_stuck"; readonly alert: string }
  /** Devices drifted, or drifted no more. */
  | { readonly kind: "note_drift"; readonly alert: string }
  /** It can be read no more, or again. */
  | { readonly kind: "note_unreadable"; readonly alert: string }
  /** Its time has come. */
  | { readonly kind: "start" }
  /** Further devices have to be told to go back. */
  | { readonly kind: "continue_rollback" }
  | { readonly kind: "finish_rollback" };

/** What is known beside the rollout and its counters. */
export interface PlanFacts {
  readonly now: Date;
  /** How its updated devices fare; undefined as long as nothing is known. */
  readonly health: RolloutHealthVerdict | undefined;
  /** What its alert has to become for what of it can or cannot be read; undefined if it may stay. */
  readonly dueAlert: string | undefined;
}

/**
 * What is to be done with a rollout now, in this order; nothing if the list is empty. Pure: the same rollout and facts give
 * the same plan, so it may be made from a read without a lock, and again under one before it is carried out.
 *
 * A rollout that cannot be read says so first. Devices are told to go back before anything else is judged; but where some
 * only wait until they can be told, the rules go on meanwhile.
 */
export function plan(rollout: Rollout, { now, health, dueAlert }: PlanFacts): Decision[] {
  if (dueAlert !== undefined) return [{ kind: "note_unreadable", alert: dueAlert }];
  const { rollbackPlan, state } = rollout;
  if (rollbackPlan === undefined || isFinalRollout(state)) return judge(rollout, now, health);
  const decisions = rollbackPlan.waiting === true ? judge(rollout, now, health) : [];
  return decisions.length === 0 ? [{ kind: "continue_rollback" }] : decisions;
}

/** A decision as one line of text, for people. */
export function decisionText(decision: Decision): string {
  switch (decision.kind) {
    case "note_gate":
      return `${decision.held ? "the gate holds" : "the gate holds no more"}: ring ${decision.ring.name}`;
    case "promote":
      return `promote: ${decision.reason}`;
    case "rollback":
    case "pause":
      return `${decision.kind}${decision.byHealth ? " for health" : ""}: ${decision.rule}`;
    case "note_stuck":
    case "note_drift":
    case "note_unreadable":
      return `alert: ${decision.alert || "none any more"}`;
    case "start":
      return "start";
    case "continue_rollback":
      return "tell devices to go back";
    case "finish_rollback":
      return "finish the rollback";
  }
}

/**
 * What the rules want done with a rollout now. Failures are judged in every ring that was reached, also after a
 * pause or completion, for devices go on; the gate only in the front ring of a running rollout.
 */
function judge(rollout: Rollout, now: Date, health: RolloutHealthVerdict | undefined): Decision[] {
  const { state, rings, policy } = rollout;
  if (state === "ROLLING_BACK") return isRolledBack(rollout) ? [{ kind: "finish_rollback" }] : [];
  if (state === "SCHEDULED") {
    const { startAt } = policy;
    return startAt === null || new Date(startAt) <= now ? [{ kind: "start" }] : [];
  }
  if (state === "AWAITING_APPROVAL") return noteAlert(rollout, awaitedApprover(rollout));
  if (!isActive(state)) return [];
  if (rollout.recalledVersion !== undefined) return judgeWayOut(rollout, now);
  const front = frontRing(rings);
  for (const ring of rings) {
    if (ring.state === "WAITING") continue;
    const context = { isLast: ring === rings.at(-1), health: ring === front ? health : undefined };
    const { verdict, missing, byHealth = false } = evaluateRing(ring, policy, now, context);
    const rule = missing.join("; ");
    if (verdict === "rollback") return [{ kind: "rollback", ring, rule, byHealth }];
    if (verdict === "pause" && state === "RUNNING") return [{ kind: "pause", ring, rule, byHealth }];
  }
  if (state !== "RUNNING" || front?.state !== "OPEN") return noteAlert(rollout, "");
  if (rollout.contentDamaged) return noteAlert(rollout, mustBeRepaired(rollout));
  if (front.gate.minSample > 0 && isForNobody(rollout)) return noteAlert(rollout, forNobody);
  const context = {
    isLast: front === rings.at(-1),
    before: rings.slice(0, front.position),
    next: awaitedApproval(rollout),
    health,
  };
  const { verdict, held, missing, dueAtMs } = evaluateRing(front, policy, now, context);
  // Also takes such an alert away.
  if (verdict === "promote") return [{ kind: "promote", ring: front, reason: heldWords(front) }];
  let alert: Decision[] = [];
  if (!held) alert = noteAlert(rollout, stuckWords(rollout, front, now, missing));
  // What is said may stay until its soak time is over here, too: replicas could hear devices for different times.
  else if (dueAtMs === undefined)
    alert = noteAlert(rollout, awaitedPerson(rollout, front, gateChecks(front, policy, now, context), now));
  if (alert.length > 0) return alert;
  if (held !== (front.gateHeldSince !== undefined)) return [{ kind: "note_gate", ring: front, held }];
  return [];
}

/**
 * What the rules want done with the way out of a recall: it is never complete, and nothing takes devices back to what they left. But
 * where it fails as many devices as may, it pauses, for a person has to look.
 */
function judgeWayOut(rollout: Rollout, now: Date): Decision[] {
  for (const ring of rollout.rings) {
    const { verdict, missing } = evaluateRing(ring, rollout.policy, now, { isLast: true });
    if ((verdict === "rollback" || verdict === "pause") && rollout.state === "RUNNING")
      return [{ kind: "pause", ring, rule: missing.join("; "), byHealth: false }];
  }
  const stuck = rollout.contentDamaged && rollout.state === "RUNNING" ? mustBeRepaired(rollout) : "";
  return noteAlert(rollout, stuck);
}

function mustBeRepaired({ version }: Rollout): string {
  return `${damagedWords(version)}, and nobody is offered it until it is uploaded again`;
}

/** Whether nothing is left of a rollback that is under way. */
function isRolledBack({ rollbackPlan, rollback }: Rollout): boolean {
  return rollbackPlan === undefined && rollback.completed + rollback.failed >= rollback.total;
}

const forNobody =
  "no device is one that it is for; it goes on when one is enrolled, or an operator aborts it";

/**
 * Sets the alert, or takes it away: that it cannot go on by itself goes before devices that drifted. Another one goes first,
 * until somebody has seen to it.
 */
function noteAlert({ alert, rings, version, recalledVersion }: Rollout, stuck: string): Decision[] {
  const drifted = rings.reduce((sum, { counters }) => sum + counters.drifted, 0);
  const due = stuck === "" ? driftAlert(drifted, version, recalledVersion) : stuckAlert(stuck);
  if (alert === due || (alert !== "" && !isStuckAlert(alert) && !isDriftAlert(alert))) return [];
  return [{ kind: isDriftAlert(due || alert) ? "note_drift" : "note_stuck", alert: due }];
}

/**
 * Why nothing will happen to the front ring, whose gate does not hold; empty if something may. What is said already is not
 * taken back for want of patience: replicas could hear devices for different times.
 */
function stuckWords({ alert, policy }: Rollout, ring: Ring, now: Date, missing: readonly string[]): string {
  const { name, counters, census, openedAt } = ring;
  if (census === undefined || counters.inProgress > counters.missing) return "";
  const needs = `ring ${name} ${missing.join("; ")}`;
  const verbs = "an operator can promote it, roll it back or abort it";
  if (isComplete(ring)) {
    const silent = counters.missing > 0 ? ` or is missing (${counters.missing})` : "";
    return `${needs}, and every device in it has finished${silent}; ${verbs}`;
  }
  const openMs = now.getTime() - (openedAt ?? now).getTime();
  // Windows say when.
  if (policy.maintenanceWindows.length > 0) return "";
  const words = `${needs}, and waits for ${devicesText(census.awaited)} in it to take the update; bring one online, or ${verbs}`;
  return openMs >= patienceMs || alert === stuckAlert(words) ? words : "";
}

/** How long devices may take until it is said that a ring waits for them. */
const patienceMs = 10 * 60_000;

function heldWords(ring: Ring): string {
  const { name, counters, gate } = ring;
  if (isEmpty(ring)) {
    const others = (ring.census?.devices ?? 0) > 0 ? " that waits for it" : "";
    return `ring ${name}: no device is in it${others}`;
  }
  const { succeeded, began } = counters;
  return `ring ${name}: ${succeeded} of ${began} devices that began succeeded, which held for ${gate.soakMs / 1000} s`;
}
