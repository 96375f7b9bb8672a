import { describe, expect, it } from "vitest";
import { planPolicy, planRings } from "./new-rollout.ts";

const ring = (name: string, percent: number) => ({ name, percent });

describe("planRings", () => {
  it("takes numbers of devices beside shares", () => {
    const rings = planRings([
      { name: "canary", percent: 0, devices: 10 },
      { name: "early", percent: 5 },
      { name: "more", percent: 0, devices: 500 },
      { name: "all", percent: 100 },
    ]);
    expect(rings.map(({ percentBasisPoints, deviceTarget }) => [percentBasisPoints, deviceTarget])).toEqual([
      [0, 10],
      [500, undefined],
      [0, 500],
      [10_000, undefined],
    ]);
  });

  it.each([
    ["both", [{ name: "a", percent: 5, devices: 1 }], "rings[0].devices"],
    ["neither", [{ name: "a", percent: 0 }], "rings[0].percent"],
    [
      "numbers that fall",
      [
        { name: "a", percent: 0, devices: 9 },
        { name: "b", percent: 50 },
        { name: "c", percent: 0, devices: 9 },
      ],
      "rings[2].devices",
    ],
  ])("refuses %s", (_, rings, field) => {
    expect(() => planRings(rings)).toThrow(expect.objectContaining({ metadata: { field } }));
  });

  it.each([
    ["shares that fall", [ring("a", 10), ring("b", 5)], "rings[1].percent"],
    ["equal shares", [ring("a", 10), ring("b", 10)], "rings[1].percent"],
    ["a name twice", [ring("a", 10), ring("a", 20)], "rings[1].name"],
    ["three decimals", [ring("a", 10.123)], "rings[0].percent"],
  ])("refuses %s", (_, rings, field) => {
    let fields: unknown;
    try {
      planRings(rings);
    } catch (error) {
      fields = (error as { fields: unknown }).fields;
    }
    expect(fields).toMatchObject([{ field }]);
  });

  it.each([0.01, 0.07, 1.1, 33.33, 99.99])("takes %d %% exactly", (percent) => {
    expect(planRings([ring("a", percent)])[0]?.percentBasisPoints).toBe(Math.round(percent * 100));
  });

  it("lets the last ring end below 100 %", () => {
    expect(planRings([ring("a", 5), ring("b", 20)])).toHaveLength(2);
  });

  it("takes a gate as it is given", () => {
    const gate = { minSample: 0, minSuccessPercent: 0, manual: false };
    expect(planRings([{ ...ring("a", 5), gate }])[0]?.gate).toEqual({
      ...gate,
      soakMs: 600_000,
      requireNoWorseHealth: false,
      requireApproval: false,
    });
  });
});

describe("planPolicy", () => {
  const defaults = { failureThresholdPercent: 7, deviceTimeoutMs: 1_000 };

  it("takes what is given before the service's settings", () => {
    expect(planPolicy({ pauseOnFailure: false }, defaults)).toMatchObject(defaults);
    expect(
      planPolicy({ pauseOnFailure: false, failureThresholdPercent: 0, crashLimit: 1 }, defaults),
    ).toMatchObject({
      failureThresholdPercent: 0,
      crashLimit: 1,
      deviceTimeoutMs: 1_000,
    });
  });
});
