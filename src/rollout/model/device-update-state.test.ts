import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  deviceUpdateEvents,
  deviceUpdateStates,
  isFinalUpdate,
  isTaken,
  nextUpdateState,
  reportableStates,
  stateAfterReport,
} from "./device-update-state.ts";

const open = ["OFFERED", "DOWNLOADING", "DOWNLOADED", "INSTALLING", "REBOOTING", "VERIFYING"];
const taken = ["INSTALLING", "REBOOTING", "VERIFYING"];

/** From which states an event leads where; from all others it means nothing. */
const machine: Record<string, { from: string[]; to: string }> = {
  prove: { from: open.slice(0, 5), to: "VERIFYING" },
  verify: { from: ["VERIFYING"], to: "SUCCEEDED" },
  revert: { from: taken, to: "FAILED" },
  crash_loop: { from: ["VERIFYING"], to: "FAILED" },
  time_out: { from: open, to: "TIMED_OUT" },
  cancel: { from: open.slice(0, 3), to: "CANCELLED" },
  supersede: { from: open.slice(0, 3), to: "SUPERSEDED" },
  roll_back: { from: taken, to: "ROLLED_BACK" },
  retire: { from: open, to: "CANCELLED" },
};

describe("nextUpdateState", () => {
  const pairs = deviceUpdateStates.flatMap((state) =>
    deviceUpdateEvents.map((event) => [state, event] as const),
  );

  it.each(pairs)("%s, %s", (state, event) => {
    const rule = machine[event];
    expect(nextUpdateState(state, event)).toBe(rule?.from.includes(state) ? rule.to : undefined);
  });

  it("splits the open states: cancelled or rolled back, never both", () => {
    for (const state of deviceUpdateStates.filter((each) => !isFinalUpdate(each))) {
      const ends = [nextUpdateState(state, "cancel"), nextUpdateState(state, "roll_back")];
      expect(ends.filter((end) => end !== undefined)).toHaveLength(1);
      expect(isTaken(state)).toBe(taken.includes(state));
    }
  });
});

describe("stateAfterReport", () => {
  const pairs = deviceUpdateStates.flatMap((state) =>
    reportableStates.map((report) => [state, report] as const),
  );

  it.each(pairs)("%s, reported %s", (state, report) => {
    const expected = (): string => {
      if (!open.includes(state)) return state;
      if (report === "FAILED") return "FAILED";
      return open.indexOf(report) > open.indexOf(state) ? report : state;
    };
    expect(stateAfterReport(state, report)).toBe(expected());
  });
});

describe("an update", () => {
  it("never reopens once it has ended, and never goes backwards", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...deviceUpdateEvents, ...reportableStates)), (steps) => {
        let state: (typeof deviceUpdateStates)[number] = "OFFERED";
        for (const step of steps) {
          const report = reportableStates.find((each) => each === step);
          const event = deviceUpdateEvents.find((each) => each === step);
          let next: (typeof deviceUpdateStates)[number] = state;
          if (report !== undefined) next = stateAfterReport(state, report);
          if (event !== undefined) next = nextUpdateState(state, event) ?? state;
          expect(isFinalUpdate(state) ? next : state).toBe(state);
          expect(deviceUpdateStates.indexOf(next)).toBeGreaterThanOrEqual(deviceUpdateStates.indexOf(state));
          state = next;
        }
        expect(deviceUpdateStates).toContain(state);
      }),
    );
  });
});
