import { onePerson } from "../../access/token-descent.ts";
import type { Cause } from "../../call/cause.ts";
import { illegalTransition, nothingToDo, OtaError } from "../../errors.ts";
import { sql, words } from "../../infra/database/sql.ts";
import type { RingState } from "../model/deployment-ring.entity.ts";
import { untakenStates } from "../model/device-update-state.ts";
import { isDriftAlert } from "../model/drift-alert.ts";
import { nextRingState, type RingEvent } from "../model/ring-state.ts";
import { frontRing, isApproved, type Ring, type Rollout } from "../model/rollout.ts";
import { recordRollout } from "../model/rollout-audit.ts";
import {
  allowedVerbs,
  nextRolloutState,
  type RolloutEvent,
  type RolloutVerb,
} from "../model/rollout-state.ts";
import type { RolloutTransaction } from "../model/rollout-transactions.ts";
import { isStuckAlert } from "../model/stuck-alert.ts";
import { isRecalledAlert } from "../model/way-out.ts";
import { forgetWaitingSql } from "./waiting-rollback-sql.ts";

/**
 * Verbs of a rollout within a transaction that has it locked. Each checks the state machine, writes the new state and the
 * record of it, and raises the revision, unless what it asks for is so already. They return nothing: read the rollout again
 * afterwards, and see `steered`.
 */
export async function start(tx: RolloutTransaction, rollout: Rollout, by: Cause): Promise<void> {
  await begin(tx, rollout, by, "start");
}

/**
 * Notes that the named ring, or the next one that waits for it, may open; the last approval that a start waits for starts
 * the rollout. `FOUR_EYES` for the rollout's creator, and for whoever may be the same person; `NOTHING_TO_DO` for what needs no approval. A ring that has it stays as
 * it is.
 */
export async function approve(
  tx: RolloutTransaction,
  rollout: Rollout,
  by: Cause,
  ringName?: string,
): Promise<void> {
  const state = requireState(rollout, "approve");
  const ring = ringName === undefined ? nextToApprove(rollout) : requireRing(rollout.rings, ringName);
  if (!ring.gate.requireApproval) throw noApprovalNeeded(rollout, ring);
  if (isApproved(ring)) return;
  const why = await onePerson(tx, by.actor, rollout.creator);
  if (why !== undefined) throw fourEyes(rollout, why);
  const now = tx.now.toISOString();
  await tx.run(approveSql, [ring.id, by.actor, now]);
  const details = { ring: ring.name };
  if (rollout.state !== "AWAITING_APPROVAL")
    return await moveRollout(tx, rollout, "approve", state, by, details);
  const rings = rollout.rings.map((each) => (each.id === ring.id ? { ...each, approver: by.actor } : each));
  if (ring.position === 0) return await begin(tx, { ...rollout, rings }, by, "approve");
  await moveRollout(tx, rollout, "approve", rollout.state, by, details);
}

/** Opens the next ring, or all up to the named one; passes the rings before. Past the last ring, the rollout is complete. */
export async function promote(
  tx: RolloutTransaction,
  rollout: Rollout,
  by: Cause,
  ringName?: string,
): Promise<void> {
  const state = requireState(rollout, "promote");
  const front = frontRing(rollout.rings)?.position ?? -1;
  const target = ringName === undefined ? rollout.rings[front + 1] : requireRing(rollout.rings, ringName);
  if (target !== undefined && target.position <= front) return;
  const unapproved = rollout.rings.find(
    (ring) => ring.state === "WAITING" && ring.position <= (target?.position ?? -1) && !isApproved(ring),
  );
  if (unapproved !== undefined) throw approvalMissing(unapproved);
  const last = target?.position ?? rollout.rings.length;
  for (const ring of rollout.rings.slice(0, last)) {
    const open = ring.state === "WAITING" ? { ...ring, state: await moveRing(tx, ring, "open") } : ring;
    if (open.state === "OPEN") await moveRing(tx, open, "pass");
  }
  if (target === undefined) {
    const completed = requireState(rollout, "complete", "promote");
    await moveRollout(tx, rollout, "complete", completed, by, {});
    return;
  }
  await moveRing(tx, target, "open");
  await moveRollout(tx, rollout, "promote", state, by, { ring: target.name });
}

/** Stops making offers. The ring whose failures are the reason is named by a rule, not by an operator. */
export async function pause(
  tx: RolloutTransaction,
  rollout: Rollout,
  by: Cause,
  failed?: Ring,
): Promise<void> {
  const state = requireState(rollout, "pause");
  if (failed !== undefined && failed.state !== "FAILED") await moveRing(tx, failed, "fail");
  await moveRollout(tx, rollout, "pause", state, by, failed === undefined ? {} : { ring: failed.name });
}

/** Makes offers again. The failures so far are accepted: only more of them can stop the rollout again. */
export async function resume(tx: RolloutTransaction, rollout: Rollout, by: Cause): Promise<void> {
  const state = requireState(rollout, "resume");
  if (rollout.rings[0]?.state === "WAITING") return await begin(tx, rollout, by, "resume");
  for (const ring of rollout.rings) {
    if (ring.state === "WAITING") continue;
    if (ring.state === "FAILED") await moveRing(tx, ring, "reopen");
    await tx.run(acceptSql, [ring.id]);
  }
  await moveRollout(tx, rollout, "resume", state, by, {});
}

/** Stops a rollout for good. What devices do not install yet is cancelled; what they do is still judged to its end. */
export async function abort(tx: RolloutTransaction, rollout: Rollout, by: Cause): Promise<void> {
  const state = requireState(rollout, "abort");
  await tx.run(cancelUpdatesSql, [rollout.id, tx.now.toISOString()]);
  await tx.run(forgetWaitingSql, [rollout.id]);
  await moveRollout(tx, rollout, "abort", state, by, {});
}

/** Opens the first ring, unless it has to wait for an approval or for its time. */
async function begin(
  tx: RolloutTransaction,
  rollout: Rollout,
  by: Cause,
  event: "start" | "approve" | "resume",
): Promise<void> {
  const [first] = rollout.rings;
  const { startAt } = rollout.policy;
  const ring = first?.name ?? "";
  if (first !== undefined && !isApproved(first)) {
    const waiting = requireState(rollout, "await_approval", event === "approve" ? "approve" : event);
    return await moveRollout(tx, rollout, "await_approval", waiting, by, { ring });
  }
  if (startAt !== null && new Date(startAt) > tx.now) {
    const scheduled = requireState(rollout, "schedule", event);
    // Whoever looks for approvals finds this one, too.
    const recorded = event === "approve" ? event : "schedule";
    return await moveRollout(tx, rollout, recorded, scheduled, by, { ring, start_time: startAt });
  }
  const state = requireState(rollout, event);
  if (first !== undefined) await moveRing(tx, first, "open");
  await moveRollout(tx, rollout, event, state, by, { ring });
}

/** Changes the rollout's own state, with its record. */
export async function moveRollout(
  tx: RolloutTransaction,
  rollout: Rollout,
  event: RolloutEvent,
  state: Rollout["state"],
  by: Cause,
  details: Readonly<Record<string, string>>,
): Promise<void> {
  const now = tx.now.toISOString();
  const begins = state === "RUNNING" && rollout.startedAt === undefined;
  const ends = state === "ABORTED" || state === "ROLLED_BACK" || state === "COMPLETED";
  const moved = await tx.run(moveRolloutSql, [
    rollout.id,
    state,
    by.reason,
    begins,
    now,
    ends,
    rollout.revision,
    // What kept it from starting, or from going on, does no more.
    begins || state === "SCHEDULED" || passing.some((isPassing) => isPassing(rollout.alert)),
  ]);
  if (moved === 0) throw changedMeanwhile(rollout.id);
  await recordRollout(tx, rollout.id, {
    actor: by.actor,
    action: `rollout.${event}`,
    reason: by.reason,
    details: { ...by.details, ...details, from: rollout.state, to: state },
  });
  tx.changed(rollout.id);
}

/** Alerts that a change of state takes away; what still holds is said again. */
const passing = [isStuckAlert, isDriftAlert, isRecalledAlert];

/** Moves a ring; returns its new state. */
export async function moveRing(tx: RolloutTransaction, ring: Ring, event: RingEvent): Promise<RingState> {
  const state = nextRingState(ring.state, event);
  if (state === undefined) throw illegalTransition("ring", event, ring.state, []);
  const now = tx.now.toISOString();
  await tx.run(moveRingSql, [ring.id, state, now, event === "open", event === "pass"]);
  return state;
}

/**
 * The rollout, unless it is the way out of a recall, which runs for as long as that is in force, and takes nobody back to what was
 * recalled: `ILLEGAL_TRANSITION`.
 */
export function assertNoWayOut(rollout: Rollout, verb: "promote" | "rollback"): Rollout {
  const { id, state, recalledVersion, product } = rollout;
  if (recalledVersion === undefined) return rollout;
  throw new OtaError(
    "failed_precondition",
    "ILLEGAL_TRANSITION",
    `the rollout is the way out of ${product} ${recalledVersion}, which is recalled; pause or abort it, or reinstate that version`,
    { metadata: { resource: "rollout", id, verb, state, allowed: "pause, resume, abort" } },
  );
}

/** The ring of that name. `UNKNOWN_RING` if the rollout has none. */
export function requireRing(rings: readonly Ring[], name: string): Ring {
  const ring = rings.find((each) => each.name === name);
  if (ring !== undefined) return ring;
  const names = rings.map((each) => each.name).join(", ");
  throw new OtaError(
    "invalid_argument",
    "UNKNOWN_RING",
    `there is no ring ${name}; the rollout has ${names}`,
    {
      metadata: { ring: name, rings: names },
      fields: [{ field: "ring", description: `must be one of ${names}` }],
    },
  );
}

/** The state after the event. `ILLEGAL_TRANSITION`, with what is allowed, if there is none. */
export function requireState(rollout: Rollout, event: RolloutEvent, verb?: RolloutVerb): Rollout["state"] {
  const state = nextRolloutState(rollout.state, event);
  if (state === undefined) {
    throw illegalTransition("rollout", verb ?? event, rollout.state, allowedVerbs(rollout.state));
  }
  return state;
}

/** The next ring that needs an approval and has none, or else the last that needed one. `NOTHING_TO_DO` if none does. */
function nextToApprove(rollout: Rollout): Ring {
  const guarded = rollout.rings.filter(({ gate }) => gate.requireApproval);
  const ring = guarded.find((each) => !isApproved(each)) ?? guarded.at(-1);
  if (ring === undefined) throw noApprovalNeeded(rollout);
  return ring;
}

function noApprovalNeeded({ id, rings }: Rollout, ring?: Ring): OtaError {
  const guarded = rings.filter(({ gate }) => gate.requireApproval).map(({ name }) => name);
  const others = guarded.length === 0 ? "no ring of the rollout does" : `these do: ${guarded.join(", ")}`;
  return nothingToDo(
    ring === undefined
      ? "no ring of the rollout needs an approval"
      : `ring ${ring.name} needs no approval; ${others}`,
    { id, ...(ring === undefined ? {} : { ring: ring.name }) },
  );
}

function fourEyes({ id, creator }: Rollout, why: string): OtaError {
  return new OtaError(
    "permission_denied",
    "FOUR_EYES",
    `${creator} created the rollout, so another person must approve it: ${why}`,
    {
      metadata: { id, creator },
    },
  );
}

function approvalMissing({ name }: Ring): OtaError {
  return new OtaError(
    "failed_precondition",
    "ILLEGAL_TRANSITION",
    `ring ${name} needs an approval before it opens`,
    {
      metadata: { resource: "ring", ring: name, verb: "promote", allowed: "approve" },
    },
  );
}

/** The compare-and-set failed. */
export function changedMeanwhile(id: string): OtaError {
  return new OtaError("aborted", "ILLEGAL_TRANSITION", "the rollout changed meanwhile; look at it again", {
    metadata: { id },
  });
}

const approveSql = sql`
  UPDATE deployment_rings SET approver = $2, approved_at = $3::timestamptz, updated_at = now() WHERE id = $1::uuid`;

const acceptSql = sql`
  UPDATE deployment_rings SET gate = gate || jsonb_build_object('acceptedFailures', failed_count + missing_count) WHERE id = $1::uuid`;

const moveRolloutSql = sql`
  UPDATE rollouts SET state = $2, state_reason = $3, version = version + 1, updated_at = now(),
    started_at = CASE WHEN $4::boolean THEN $5::timestamptz ELSE started_at END,
    ended_at = CASE WHEN $6::boolean THEN $5::timestamptz END,
    alert = CASE WHEN $8::boolean THEN '' ELSE alert END
  WHERE id = $1::uuid AND version = $7::int`;

const moveRingSql = sql`
  UPDATE deployment_rings SET state = $2, updated_at = now(),
    opened_at = CASE WHEN $4::boolean THEN $3::timestamptz ELSE opened_at END,
    passed_at = CASE WHEN $5::boolean THEN $3::timestamptz ELSE passed_at END,
    gate_held_since = CASE WHEN $5::boolean THEN gate_held_since END
  WHERE id = $1::uuid`;

const cancelUpdatesSql = sql`
  UPDATE device_updates SET state = 'CANCELLED', ended_at = $2::timestamptz, updated_at = now()
  WHERE rollout_id = $1::uuid AND ended_at IS NULL
    AND (action = 'ROLLBACK' OR state IN (${words(untakenStates)}))`;
