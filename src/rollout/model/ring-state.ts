import type { RingState } from "./deployment-ring.entity.ts";

/** Every state of a ring. */
export const ringStates = ["WAITING", "OPEN", "PASSED", "FAILED"] as const satisfies readonly RingState[];

/** What happens to a ring. */
export const ringEvents = [
  /** Its turn has come. */
  "open",
  /** Its gate held, or an operator went on. */
  "pass",
  /** Its failures stopped the rollout. */
  "fail",
  /** An operator resumed the rollout in spite of its failures. */
  "reopen",
] as const;

/** See {@link ringEvents}. */
export type RingEvent = (typeof ringEvents)[number];

/** The state after an event, or undefined if the state does not allow it. */
export function nextRingState(state: RingState, event: RingEvent): RingState | undefined {
  return transitions[state][event];
}

/** Whether devices of a ring in this state are offered the update. */
export function isReached(state: RingState): boolean {
  return state !== "WAITING";
}

const transitions: Readonly<Record<RingState, Readonly<Partial<Record<RingEvent, RingState>>>>> = {
  WAITING: { open: "OPEN" },
  OPEN: { pass: "PASSED", fail: "FAILED" },
  PASSED: { fail: "FAILED" },
  FAILED: { reopen: "OPEN" },
};
