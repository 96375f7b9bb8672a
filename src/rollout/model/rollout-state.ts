import type { RolloutState } from "./rollout.entity.ts";

/** Every state of a rollout. */
export const rolloutStates = [
  "DRAFT",
  "AWAITING_APPROVAL",
  "SCHEDULED",
  "RUNNING",
  "PAUSED",
  "ROLLING_BACK",
  "ROLLED_BACK",
  "COMPLETED",
  "ABORTED",
] as const satisfies readonly RolloutState[];

/** What an operator, or a rule on its own, can do to a rollout. */
export const rolloutVerbs = ["start", "approve", "promote", "pause", "resume", "rollback", "abort"] as const;

/** See {@link rolloutVerbs}. */
export type RolloutVerb = (typeof rolloutVerbs)[number];

/**
 * A verb, the rolling back of one ring, or what the service itself finds: a start or resumption has to wait for an approval or its time, the last gate
 * held, nothing is left to be rolled back, or something is again.
 */
export type RolloutEvent = RolloutVerb | (typeof findings)[number];

const findings = [
  "await_approval",
  "schedule",
  "rollback_ring",
  "complete",
  "finish_rollback",
  "reopen_rollback",
] as const;

/** Every event of a rollout. */
export const rolloutEvents: readonly RolloutEvent[] = [...rolloutVerbs, ...findings];

/** The state after an event, or undefined if the state does not allow it. The table is the whole machine. */
export function nextRolloutState(state: RolloutState, event: RolloutEvent): RolloutState | undefined {
  return transitions[state][event];
}

/**
 * The verbs that get a rollout out of a state or on in it, in the order of {@link rolloutVerbs}. An approval of a later ring,
 * which is possible in other states, too, is named by the rollout itself.
 */
export function allowedVerbs(state: RolloutState): RolloutVerb[] {
  return rolloutVerbs.filter((verb) => {
    if (transitions[state][verb] === undefined || isInForce(state, verb)) return false;
    return verb !== "approve" || state === "AWAITING_APPROVAL";
  });
}

/** Whether a rollout in this state is over. One that was rolled back is so until a device comes back that has to go back, too. */
export function isFinalRollout(state: RolloutState): boolean {
  return state === "ROLLED_BACK" || state === "ABORTED";
}

/** The states of a rollout that somebody started and that is not over. */
export const ongoingStates = rolloutStates.filter((state) => state !== "DRAFT" && !isFinalRollout(state));

/** Whether devices may be offered the update by a rollout in this state. */
export function makesOffers(state: RolloutState): boolean {
  return state === "RUNNING" || state === "COMPLETED";
}

/** Whether devices go on with the update, and try again, under a rollout in this state. */
export function isActive(state: RolloutState): boolean {
  return makesOffers(state) || state === "PAUSED";
}

/**
 * Whether a verb has nothing left to do because its effect is in force: the same verb again is then answered with the
 * rollout as it is. Promotion and approval are not among them: each one is for a ring.
 */
export function isInForce(state: RolloutState, verb: RolloutVerb): boolean {
  switch (verb) {
    case "start":
      return state === "RUNNING" || state === "SCHEDULED" || state === "AWAITING_APPROVAL";
    case "resume":
      return state === "RUNNING";
    case "pause":
      return state === "PAUSED";
    case "rollback":
      return state === "ROLLING_BACK" || state === "ROLLED_BACK";
    case "abort":
      return state === "ABORTED";
    case "promote":
    case "approve":
      return false;
  }
}

const transitions: Readonly<Record<RolloutState, Readonly<Partial<Record<RolloutEvent, RolloutState>>>>> = {
  DRAFT: { start: "RUNNING", abort: "ABORTED", await_approval: "AWAITING_APPROVAL", schedule: "SCHEDULED" },
  AWAITING_APPROVAL: { approve: "RUNNING", abort: "ABORTED", schedule: "SCHEDULED" },
  SCHEDULED: { start: "RUNNING", approve: "SCHEDULED", pause: "PAUSED", abort: "ABORTED" },
  RUNNING: {
    approve: "RUNNING",
    rollback_ring: "PAUSED",
    promote: "RUNNING",
    pause: "PAUSED",
    rollback: "ROLLING_BACK",
    abort: "ABORTED",
    complete: "COMPLETED",
  },
  PAUSED: {
    approve: "PAUSED",
    rollback_ring: "PAUSED",
    resume: "RUNNING",
    rollback: "ROLLING_BACK",
    abort: "ABORTED",
    schedule: "SCHEDULED",
  },
  ROLLING_BACK: { abort: "ABORTED", finish_rollback: "ROLLED_BACK" },
  ROLLED_BACK: { reopen_rollback: "ROLLING_BACK" },
  COMPLETED: { rollback_ring: "PAUSED", rollback: "ROLLING_BACK", abort: "ABORTED" },
  ABORTED: {},
};
