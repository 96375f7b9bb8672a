import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluateRing, type JudgedRing } from "./gate.ts";
import type { StoredPolicy } from "./rollout.entity.ts";
import type { RingCounters } from "./rollout.ts";

const minute = 60_000;
const now = new Date("2026-01-01T12:00:00Z");
const ago = (ms: number) => new Date(now.getTime() - ms);

const policy: StoredPolicy = {
  failureThresholdPercent: 10,
  failureMinSample: 5,
  failureCountLimit: null,
  verificationMs: minute,
  deviceTimeoutMs: 60 * minute,
  crashLimit: 3,
  maxInProgress: null,
  pauseOnFailure: false,
};

function ring(counters: Partial<RingCounters>, other: Partial<JudgedRing> = {}): JudgedRing {
  const none = { offered: 0, inProgress: 0, succeeded: 0, failed: 0, cancelled: 0, rolledBack: 0 };
  return {
    name: "canary",
    counters: { ...none, ...counters },
    gate: { minSample: 2, minSuccessPercent: 90, soakMs: 10 * minute, manual: false },
    openedAt: ago(60 * minute),
    gateHeldSince: undefined,
    ...other,
  };
}

describe("the gate", () => {
  it("of the last ring waits for devices that are still at it", () => {
    const judged = ring({ succeeded: 2, inProgress: 1 }, { gateHeldSince: ago(60 * minute) });
    expect(evaluateRing(judged, policy, now, true)).toMatchObject({
      verdict: "wait",
      held: false,
      missing: ["1 devices are still at it"],
    });
    expect(evaluateRing(judged, policy, now).verdict).toBe("promote");
  });

  it.each([
    ["nothing finished", ring({}), "wait", ["needs 2 finished devices, has 0"]],
    ["too small a sample", ring({ succeeded: 1 }), "wait", ["needs 2 finished devices, has 1"]],
    ["too few successes", ring({ succeeded: 1, failed: 1 }), "wait", ["needs 90 % successes, has 50 %"]],
    ["the soak time to begin", ring({ succeeded: 2 }), "wait", ["must hold for 600 s, 600 s to go"]],
    [
      "the soak time to go on",
      ring({ succeeded: 2 }, { gateHeldSince: ago(9 * minute) }),
      "wait",
      ["must hold for 600 s, 60 s to go"],
    ],
    ["the soak time over", ring({ succeeded: 2 }, { gateHeldSince: ago(10 * minute) }), "promote", []],
  ] as const)("%s", (_, judged, verdict, missing) => {
    expect(evaluateRing(judged, policy, now)).toMatchObject({ verdict, missing });
  });

  it("leaves the last word to an operator where it is manual", () => {
    const gate = { minSample: 0, minSuccessPercent: 0, soakMs: 0, manual: true };
    expect(evaluateRing(ring({}, { gate }), policy, now)).toMatchObject({ verdict: "manual", held: true });
  });

  it("says when time alone may change it", () => {
    const judged = ring({ succeeded: 2 }, { gateHeldSince: ago(9 * minute) });
    expect(evaluateRing(judged, policy, now).dueAtMs).toBe(now.getTime() + minute);
  });
});

describe("the failure threshold", () => {
  const verdictOf = (counters: Partial<RingCounters>, other: Partial<JudgedRing> = {}, rules = policy) =>
    evaluateRing(ring(counters, other), rules, now).verdict;

  it.each([
    ["one failure of two", { succeeded: 1, failed: 1 }, "wait"],
    ["four failures of four with more to come", { failed: 4, inProgress: 1 }, "wait"],
    ["one of five", { succeeded: 4, failed: 1 }, "rollback"],
    ["exactly the threshold", { succeeded: 9, failed: 1 }, "wait"],
    ["just above it", { succeeded: 8, failed: 1 }, "rollback"],
    ["all of a small ring", { failed: 3 }, "rollback"],
    ["the only device of a ring", { failed: 1 }, "wait"],
  ] as const)("%s", (_, counters, verdict) => {
    expect(verdictOf(counters)).toBe(verdict);
  });

  it("waits with a small ring until it has been open for its soak time", () => {
    const judged = ring({ failed: 3 }, { openedAt: ago(9 * minute) });
    expect(evaluateRing(judged, policy, now)).toMatchObject({
      verdict: "wait",
      dueAtMs: now.getTime() + minute,
    });
  });

  it("counts by number where a limit is set", () => {
    const rules = { ...policy, failureCountLimit: 2, failureThresholdPercent: 100 };
    expect(verdictOf({ failed: 1, inProgress: 3 }, {}, rules)).toBe("wait");
    expect(verdictOf({ failed: 2, inProgress: 3 }, {}, rules)).toBe("rollback");
  });

  it("pauses where the policy says so", () => {
    expect(verdictOf({ failed: 5 }, {}, { ...policy, pauseOnFailure: true })).toBe("pause");
  });

  it("holds accepted failures against a ring only when more come", () => {
    const gate = { minSample: 2, minSuccessPercent: 0, soakMs: 0, manual: false, acceptedFailures: 5 };
    expect(verdictOf({ failed: 5 }, { gate })).toBe("promote");
    expect(verdictOf({ failed: 6 }, { gate })).toBe("rollback");
  });

  it("names the rule and its numbers", () => {
    expect(evaluateRing(ring({ succeeded: 2, failed: 3 }), policy, now).missing).toEqual([
      "ring canary: 3 of 5 finished devices failed (60 %), the threshold is 10 %",
    ]);
  });

  it("never fires without failures, and never lets a failing ring be promoted", () => {
    fc.assert(
      fc.property(fc.nat(50), fc.nat(50), fc.nat(50), fc.boolean(), (succeeded, failed, inProgress, held) => {
        const judged = ring(
          { succeeded, failed, inProgress },
          held ? { gateHeldSince: ago(60 * minute) } : {},
        );
        const { verdict } = evaluateRing(judged, policy, now);
        expect(verdict === "rollback" && failed === 0).toBe(false);
        expect(verdict === "promote" && failed / (succeeded + failed) > 0.1).toBe(false);
        expect(["wait", "promote", "rollback"]).toContain(verdict);
      }),
    );
  });
});
