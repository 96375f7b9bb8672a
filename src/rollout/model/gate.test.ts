import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluateRing } from "./gate.ts";
import type { JudgedRing } from "./gate-samples.ts";
import { planPolicy } from "./new-rollout.ts";
import type { StoredPolicy } from "./rollout.entity.ts";
import { keyCounters, noCounts, type RingCounters, ringCounters } from "./rollout-counters.ts";

const minute = 60_000;
const now = new Date("2026-01-01T12:00:00Z");
const ago = (ms: number) => new Date(now.getTime() - ms);

const policy: StoredPolicy = planPolicy(
  { pauseOnFailure: false },
  { failureThresholdPercent: 10, deviceTimeoutMs: 60 * minute },
);
const gateRules = { requireNoWorseHealth: false, requireApproval: false };

function ring(counters: Partial<RingCounters>, other: Partial<JudgedRing> = {}): JudgedRing {
  const { succeeded = 0, failed = 0, missing = 0 } = counters;
  const began = succeeded + failed + missing;
  return {
    name: "canary",
    counters: { ...noCounts(ringCounters), began, ...counters },
    gate: { minSample: 2, minSuccessPercent: 90, soakMs: 10 * minute, manual: false, ...gateRules },
    openedAt: ago(60 * minute),
    gateHeldSince: undefined,
    ...other,
  };
}

describe("the gate", () => {
  it("does not open a ring while too many of a ring before it failed or are missing, too few to be stopped", () => {
    const judged = ring({ succeeded: 9, failed: 1 }, { name: "early", gateHeldSince: ago(60 * minute) });
    const first = (failed: number) => ring({ succeeded: 5, failed, inProgress: 1 });
    const { verdict, missing } = evaluateRing(judged, policy, now, { before: [first(2)] });
    expect([verdict, missing]).toEqual([
      "wait",
      ["has ring canary before it, which may have at most 10 % failed or missing: of 7 that began, 2 failed"],
    ]);
    expect(evaluateRing(judged, policy, now, { before: [first(1)] }).verdict).toBe("promote");
  });

  it("of the last ring waits for devices that are still updating", () => {
    const judged = ring({ succeeded: 2, inProgress: 1 }, { gateHeldSince: ago(60 * minute) });
    expect(evaluateRing(judged, policy, now, { isLast: true })).toMatchObject({
      verdict: "wait",
      held: false,
      missing: ["1 devices are still updating"],
    });
    expect(evaluateRing(judged, policy, now).verdict).toBe("promote");
  });

  it.each([
    ["nothing finished", ring({}), "wait", ["needs 2 finished devices, has 0"]],
    ["too small a sample", ring({ succeeded: 1 }), "wait", ["needs 2 finished devices, has 1"]],
    [
      "too few successes",
      ring({ succeeded: 1, failed: 1, inProgress: 1 }),
      "wait",
      ["needs 90 % successes, has 50 %: of 2 that began, 1 failed"],
    ],
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
    const gate = { minSample: 0, minSuccessPercent: 0, soakMs: 0, manual: true, ...gateRules };
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
    ["one failure of two: a person has to look", { succeeded: 1, failed: 1 }, "pause"],
    ["one failure of two while another is at it", { succeeded: 1, failed: 1, inProgress: 1 }, "wait"],
    ["four failures of four with more to come", { failed: 4, inProgress: 1 }, "wait"],
    ["one of five: no device alone rolls a fleet back", { succeeded: 4, failed: 1 }, "pause"],
    ["two of five", { succeeded: 3, failed: 2 }, "rollback"],
    ["exactly the threshold", { succeeded: 9, failed: 1 }, "wait"],
    ["just above it", { succeeded: 17, failed: 2 }, "rollback"],
    ["all of a small ring", { failed: 3 }, "rollback"],
    ["the only device of a ring", { failed: 1 }, "pause"],
  ] as const)("%s", (_, counters, verdict) => {
    expect(verdictOf(counters)).toBe(verdict);
  });

  it("holds early failures against all devices of a young ring, and later against the finished ones", () => {
    const early = { failed: 5, inProgress: 95 };
    const old = { ...policy, verificationMs: 5 * minute };
    const youngFor = 2 * old.verificationMs + ring({}).gate.soakMs;
    expect(verdictOf(early, { openedAt: ago(youngFor - 1) }, old)).toBe("wait");
    expect(verdictOf({ failed: 11, inProgress: 89 }, { openedAt: ago(youngFor - 1) }, old)).toBe("rollback");
    expect(verdictOf(early, { openedAt: ago(youngFor) }, old)).toBe("rollback");
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
    const gate = {
      minSample: 2,
      minSuccessPercent: 0,
      soakMs: 0,
      manual: false,
      acceptedFailures: 5,
      ...gateRules,
    };
    expect(verdictOf({ failed: 5 }, { gate })).toBe("promote");
    expect(verdictOf({ failed: 6 }, { gate })).toBe("rollback");
  });

  it("names the rule and its numbers", () => {
    expect(evaluateRing(ring({ succeeded: 2, failed: 3 }), policy, now).missing).toEqual([
      "ring canary: of 5 devices that began, 3 failed (60 %), the threshold is 10 %",
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
        expect(["wait", "promote", "rollback", "pause"]).toContain(verdict);
      }),
    );
  });
});

describe("a ring whose devices were counted", () => {
  const verdictOf = (counters: Partial<RingCounters>, awaited: number, other: Partial<JudgedRing> = {}) =>
    evaluateRing(ring(counters, { census: { awaited }, openedAt: ago(minute), ...other }), policy, now);

  it.each([
    ["all of three fail", { failed: 3 }, 0, "rollback"],
    ["two of three fail and the third is still to ask", { failed: 2 }, 1, "wait"],
    ["the only one fails", { failed: 1 }, 0, "pause"],
    ["one fails and another is still to ask", { failed: 1 }, 1, "wait"],
    ["nobody is in it", {}, 0, "promote"],
    ["all were cancelled", { cancelled: 2 }, 0, "promote"],
    ["nobody has asked yet", {}, 3, "wait"],
    ["one is updating", { inProgress: 1 }, 0, "wait"],
  ] as const)("is judged by all there are: %s", (_, counters, awaited, verdict) => {
    expect(verdictOf(counters, awaited).verdict).toBe(verdict);
  });

  it("needs no larger sample than it has devices", () => {
    const gate = { ...ring({}).gate, minSample: 5 };
    const other = { gate, gateHeldSince: ago(10 * minute) };
    expect(verdictOf({ succeeded: 3 }, 0, other).verdict).toBe("promote");
    expect(verdictOf({ succeeded: 3 }, 1, other).missing).toEqual(["needs 5 finished devices, has 3"]);
  });

  it("waits for a person who has to promote it, also if nobody is in it", () => {
    const gate = { ...ring({}).gate, manual: true };
    expect(verdictOf({}, 0, { gate }).verdict).toBe("manual");
  });
});

describe("silence", () => {
  const verdictOf = (counters: Partial<RingCounters>, other: Partial<JudgedRing> = {}) =>
    evaluateRing(ring({ inProgress: counters.missing ?? 0, ...counters }, other), policy, now);

  it.each([
    ["nine of ten", { succeeded: 1, missing: 9 }, "rollback"],
    ["three of ten", { succeeded: 7, missing: 3 }, "rollback"],
    ["all of three", { missing: 3 }, "rollback"],
    ["one of two: a person has to look", { succeeded: 1, missing: 1 }, "pause"],
    ["the only device", { missing: 1 }, "pause"],
    ["one silent and one failed of two", { failed: 1, missing: 1 }, "rollback"],
    ["one of twenty", { succeeded: 19, missing: 1 }, "promote"],
    ["one of two while another downloads", { succeeded: 1, missing: 1, inProgress: 2 }, "wait"],
  ] as const)("%s", (_, counters, verdict) => {
    expect(verdictOf(counters, { gateHeldSince: ago(60 * minute) }).verdict).toBe(verdict);
  });

  it("is held against the ring before it counts as missing, and who still downloads is not", () => {
    const held = { gateHeldSince: ago(60 * minute) };
    expect(verdictOf({ succeeded: 2, began: 4, inProgress: 2 }, held)).toMatchObject({
      verdict: "wait",
      missing: ["needs 90 % successes, has 50 %: of 4 that began, 2 to prove themselves"],
    });
    expect(verdictOf({ succeeded: 2, inProgress: 50 }, held).verdict).toBe("promote");
  });

  it("is told apart from failures, in words", () => {
    expect(verdictOf({ succeeded: 4, failed: 1, missing: 5 }).missing).toEqual([
      "ring canary: of 10 devices that began, 1 failed and 5 are missing (60 %), the threshold is 10 %",
    ]);
  });

  it("that an operator accepted stops nothing until more fall silent, or it fails", () => {
    const gate = { ...ring({}).gate, acceptedFailures: 3 };
    const counters = { succeeded: 7, missing: 3 };
    expect(verdictOf(counters, { gate }).verdict).toBe("wait");
    expect(verdictOf({ succeeded: 7, missing: 2, failed: 1 }, { gate }).verdict).toBe("wait");
    expect(verdictOf({ succeeded: 7, missing: 4 }, { gate }).verdict).toBe("rollback");
  });

  it("of a late device stops no rollout whose gate it had passed", () => {
    expect(verdictOf({ succeeded: 7, missing: 1 }, { state: "PASSED" }).verdict).not.toBe("pause");
  });

  it("never opens a ring while more than the threshold of those that began failed or are missing", () => {
    const count = fc.nat(50);
    fc.assert(
      fc.property(count, count, count, count, (succeeded, failed, missing, downloading) => {
        const counters = { succeeded, failed, missing, inProgress: missing + downloading };
        const { verdict } = verdictOf(counters, { gateHeldSince: ago(60 * minute) });
        expect(verdict === "promote" && (failed + missing) / (succeeded + failed + missing) > 0.1).toBe(
          false,
        );
      }),
    );
  });
});

describe("devices of one enrolment key", () => {
  const honest = "key-honest";
  const foul = "key-foul";
  const split = (a: Partial<RingCounters>, b: Partial<RingCounters>, other: Partial<JudgedRing> = {}) => {
    const sum = (of: keyof RingCounters) => (a[of] ?? 0) + (b[of] ?? 0);
    const keyOf = (keyId: string, of: Partial<RingCounters>) => ({
      keyId,
      ...noCounts(keyCounters),
      began: (of.succeeded ?? 0) + (of.failed ?? 0) + (of.missing ?? 0),
      ...of,
    });
    const counters = {
      offered: sum("offered"),
      inProgress: sum("inProgress"),
      succeeded: sum("succeeded"),
      failed: sum("failed"),
      missing: sum("missing"),
    };
    return ring(counters, { keys: [keyOf(honest, a), keyOf(foul, b)], ...other });
  };

  it("never roll a fleet back by lying, however many they are, while the others fare well", () => {
    fc.assert(
      fc.property(fc.integer({ min: 5, max: 500 }), fc.integer({ min: 1, max: 5_000 }), (good, liars) => {
        const judged = split({ offered: good, succeeded: good }, { offered: liars, failed: liars });
        expect(["wait", "pause", "promote"]).toContain(evaluateRing(judged, policy, now).verdict);
      }),
    );
  });

  it("never carry an update that fails on the others, however many they are", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 5, max: 500 }),
        fc.integer({ min: 1, max: 5_000 }),
        fc.integer({ min: 0, max: 500 }),
        (failing, liars, open) => {
          const judged = split(
            { offered: failing + open, failed: failing, inProgress: open },
            { offered: liars, succeeded: liars },
            { gateHeldSince: ago(60 * minute) },
          );
          expect(["wait", "pause", "rollback"]).toContain(evaluateRing(judged, policy, now).verdict);
        },
      ),
    );
  });

  it("do not rush ahead of the others", () => {
    const judged = split(
      { offered: 50, inProgress: 50 },
      { offered: 50, succeeded: 50 },
      { gateHeldSince: ago(60 * minute) },
    );
    expect(evaluateRing(judged, policy, now)).toMatchObject({
      verdict: "wait",
      missing: [`needs 2 finished devices that were not enrolled with key ${foul}, has 0`],
    });
  });

  it("roll it back together with those of another", () => {
    const judged = split({ offered: 20, succeeded: 10, failed: 10 }, { offered: 20, failed: 20 });
    expect(evaluateRing(judged, policy, now).verdict).toBe("rollback");
  });

  it("are all there is in a fleet with one key, and count", () => {
    const judged = split({}, { offered: 10, failed: 10 });
    expect(evaluateRing(judged, policy, now).verdict).toBe("rollback");
  });

  it("pause, with words for the person who has to look", () => {
    const judged = split({ offered: 20, succeeded: 20 }, { offered: 20, failed: 20 });
    const { verdict, missing } = evaluateRing(judged, policy, now);
    expect(verdict).toBe("pause");
    expect(missing[1]).toContain(`20 of the 20 were enrolled with key ${foul}`);
  });
});

describe("health", () => {
  const good = ring({ succeeded: 20 }, { gateHeldSince: ago(60 * minute) });
  const worse = { verdict: "WORSE", message: "crashes doubled" } as const;

  it.each([
    ["DEFAULT", "rollback"],
    ["ROLLBACK", "rollback"],
    ["PAUSE", "pause"],
    ["NONE", "wait"],
  ] as const)("that is worse leads with %s to %s", (onWorseHealth, verdict) => {
    const judged = evaluateRing(good, { ...policy, onWorseHealth }, now, { health: worse });
    expect(judged.verdict).toBe(verdict);
    expect(judged.missing).toEqual(["health is worse: crashes doubled"]);
  });

  it("must be no worse where the gate says so", () => {
    const judged = { ...good, gate: { ...good.gate, requireNoWorseHealth: true } };
    expect(evaluateRing(judged, policy, now).verdict).toBe("wait");
    const health = { verdict: "NO_WORSE", message: "" } as const;
    expect(evaluateRing(judged, policy, now, { health }).verdict).toBe("promote");
    expect(evaluateRing(good, policy, now).verdict).toBe("promote");
  });
});
