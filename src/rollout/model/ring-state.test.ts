import { expect, it } from "vitest";
import { isReached, nextRingState, ringEvents, ringStates } from "./ring-state.ts";

const legal: Record<string, string> = {
  "WAITING open": "OPEN",
  "OPEN pass": "PASSED",
  "OPEN fail": "FAILED",
  "PASSED fail": "FAILED",
  "FAILED reopen": "OPEN",
};

it.each(ringStates.flatMap((state) => ringEvents.map((event) => [state, event] as const)))(
  "%s, %s",
  (state, event) => {
    expect(nextRingState(state, event)).toBe(legal[`${state} ${event}`]);
  },
);

it("is reached from its opening on", () => {
  expect(ringStates.filter(isReached)).toEqual(["OPEN", "PASSED", "FAILED"]);
});
