import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  allowedVerbs,
  isFinalRollout,
  isInForce,
  makesOffers,
  nextRolloutState,
  rolloutEvents,
  rolloutStates,
  rolloutVerbs,
} from "./rollout-state.ts";

/** The whole machine, written down a second time: what is not here is illegal. */
const legal: Record<string, string> = {
  "DRAFT start": "RUNNING",
  "DRAFT abort": "ABORTED",
  "DRAFT await_approval": "AWAITING_APPROVAL",
  "DRAFT schedule": "SCHEDULED",
  "AWAITING_APPROVAL approve": "RUNNING",
  "AWAITING_APPROVAL schedule": "SCHEDULED",
  "AWAITING_APPROVAL abort": "ABORTED",
  "SCHEDULED start": "RUNNING",
  "SCHEDULED approve": "SCHEDULED",
  "SCHEDULED pause": "PAUSED",
  "SCHEDULED abort": "ABORTED",
  "RUNNING approve": "RUNNING",
  "RUNNING rollback_ring": "PAUSED",
  "RUNNING promote": "RUNNING",
  "RUNNING pause": "PAUSED",
  "RUNNING rollback": "ROLLING_BACK",
  "RUNNING abort": "ABORTED",
  "RUNNING complete": "COMPLETED",
  "PAUSED resume": "RUNNING",
  "PAUSED rollback": "ROLLING_BACK",
  "PAUSED approve": "PAUSED",
  "PAUSED schedule": "SCHEDULED",
  "PAUSED rollback_ring": "PAUSED",
  "PAUSED abort": "ABORTED",
  "ROLLING_BACK abort": "ABORTED",
  "ROLLING_BACK finish_rollback": "ROLLED_BACK",
  "ROLLED_BACK reopen_rollback": "ROLLING_BACK",
  "COMPLETED rollback": "ROLLING_BACK",
  "COMPLETED rollback_ring": "PAUSED",
  "COMPLETED abort": "ABORTED",
};

describe("nextRolloutState", () => {
  const pairs = rolloutStates.flatMap((state) => rolloutEvents.map((event) => [state, event] as const));

  it.each(pairs)("%s, %s", (state, event) => {
    expect(nextRolloutState(state, event)).toBe(legal[`${state} ${event}`]);
  });

  it("never leaves a final state, whatever happens, but to roll back more", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...rolloutStates),
        fc.array(fc.constantFrom(...rolloutEvents.filter((event) => event !== "reopen_rollback"))),
        (start, events) => {
          let state = start;
          for (const event of events) {
            const next = nextRolloutState(state, event);
            expect(isFinalRollout(state) ? next : undefined).toBeUndefined();
            state = next ?? state;
          }
          expect(rolloutStates).toContain(state);
        },
      ),
    );
  });
});

describe("allowedVerbs", () => {
  it.each([
    ["DRAFT", ["start", "abort"]],
    ["AWAITING_APPROVAL", ["approve", "abort"]],
    ["SCHEDULED", ["pause", "abort"]],
    ["RUNNING", ["promote", "pause", "rollback", "abort"]],
    ["PAUSED", ["resume", "rollback", "abort"]],
    ["ROLLING_BACK", ["abort"]],
    ["ROLLED_BACK", []],
    ["COMPLETED", ["rollback", "abort"]],
    ["ABORTED", []],
  ] as const)("of %s", (state, verbs) => {
    expect(allowedVerbs(state)).toEqual(verbs);
  });
});

describe("isInForce", () => {
  it("holds exactly where a verb again would change nothing", () => {
    const inForce = rolloutStates.flatMap((state) =>
      rolloutVerbs.filter((verb) => isInForce(state, verb)).map((verb) => `${state} ${verb}`),
    );
    expect(inForce).toEqual([
      "AWAITING_APPROVAL start",
      "SCHEDULED start",
      "RUNNING start",
      "RUNNING resume",
      "PAUSED pause",
      "ROLLING_BACK rollback",
      "ROLLED_BACK rollback",
      "ABORTED abort",
    ]);
  });
});

describe("makesOffers", () => {
  it("is true while running and after completion", () => {
    expect(rolloutStates.filter(makesOffers)).toEqual(["RUNNING", "COMPLETED"]);
  });
});
