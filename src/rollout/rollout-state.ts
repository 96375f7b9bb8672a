import type { RolloutState } from "./rollout.entity.ts";

/** Every state of a rollout. */
export const rolloutStates = [
  "DRAFT",
  "RUNNING",
  "PAUSED",
  "ROLLING_BACK",
  "ROLLED_BACK",
  "COMPLETED",
  "ABORTED",
] as const satisfies readonly RolloutState[];

/** What an operator, or a rule on its own, can do to a rollout. */
export const rolloutVerbs = ["start", "promote", "pause", "resume", "rollback", "abort"] as const;

/** See {@link rolloutVerbs}. */
export type RolloutVerb = (typeof rolloutVerbs)[number];

/** A verb, or what the service itself finds: the last gate held, or nothing is left to be taken back. */
export type RolloutEvent = RolloutVerb | "complete" | "finish_rollback";

/** Every event of a rollout. */
export const rolloutEvents = [
  ...rolloutVerbs,
  "complete",
  "finish_rollback",
] as const satisfies readonly RolloutEvent[];

/** The state after an event, or undefined if the state does not allow it. The table is the whole machine. */
export function nextRolloutState(state: RolloutState, event: RolloutEvent): RolloutState | undefined {
  return transitions[state][event];
}

/** The verbs that a state allows, in the order of {@link rolloutVerbs}. */
export function allowedVerbs(state: RolloutState): RolloutVerb[] {
  return rolloutVerbs.filter((verb) => transitions[state][verb] !== undefined);
}

/** Whether a rollout in this state never changes again. */
export function isFinalRollout(state: RolloutState): boolean {
  return state === "ROLLED_BACK" || state === "ABORTED";
}

/** Whether devices may be offered the update by a rollout in this state. */
export function makesOffers(state: RolloutState): boolean {
  return state === "RUNNING" || state === "COMPLETED";
}

/**
 * Whether a verb has nothing left to do because its effect is in force: the same verb again is then answered with the
 * rollout as it is. Promotion is not among them, each one opens a ring.
 */
export function isInForce(state: RolloutState, verb: RolloutVerb): boolean {
  switch (verb) {
    case "start":
    case "resume":
      return state === "RUNNING";
    case "pause":
      return state === "PAUSED";
    case "rollback":
      return state === "ROLLING_BACK" || state === "ROLLED_BACK";
    case "abort":
      return state === "ABORTED";
    case "promote":
      return false;
  }
}

const transitions: Readonly<Record<RolloutState, Readonly<Partial<Record<RolloutEvent, RolloutState>>>>> = {
  DRAFT: { start: "RUNNING", abort: "ABORTED" },
  RUNNING: {
    promote: "RUNNING",
    pause: "PAUSED",
    rollback: "ROLLING_BACK",
    abort: "ABORTED",
    complete: "COMPLETED",
  },
  PAUSED: { resume: "RUNNING", rollback: "ROLLING_BACK", abort: "ABORTED" },
  ROLLING_BACK: { abort: "ABORTED", finish_rollback: "ROLLED_BACK" },
  ROLLED_BACK: {},
  COMPLETED: { rollback: "ROLLING_BACK", abort: "ABORTED" },
  ABORTED: {},
};
