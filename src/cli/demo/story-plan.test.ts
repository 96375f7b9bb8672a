import { describe, expect, it } from "vitest";
import { crashOnBadVersion } from "./demo-fleet.ts";
import { badVersion, goodVersion, planStory } from "./story-plan.ts";

describe("planStory", () => {
  it("has the default rings for the default fleet", () => {
    expect(planStory(200).rings.map(({ name, percent }) => [name, percent])).toEqual([
      ["canary", 5],
      ["early", 25],
      ["broad", 75],
      ["production", 100],
    ]);
  });

  it.each([50, 75, 100, 199, 200, 1000, 2000])(
    "has rising shares and reachable samples for %i devices",
    (devices) => {
      let before = 0;
      for (const { percent = 0, gate } of planStory(devices).rings) {
        const expected = (devices * (percent - before)) / 100;
        expect(percent).toBeGreaterThan(before);
        expect(gate?.minSample).toBeGreaterThanOrEqual(1);
        expect(gate?.minSample).toBeLessThanOrEqual(expected);
        before = percent;
      }
      expect(before).toBe(100);
    },
  );

  it("says in words what is sent in numbers", () => {
    expect(planStory(200).text).toContain("canary 5 % → early 25 % → broad 75 % → production 100 %");
  });
});

describe("crashOnBadVersion", () => {
  it("lets exactly one device in three crash on the bad version, in the order of installation", () => {
    const behaviour = crashOnBadVersion(1);
    const fates = [7, 3, 9, 1, 5, 2].map((index) => behaviour(badVersion, { index }));
    expect(fates).toEqual(["crash", "healthy", "healthy", "crash", "healthy", "healthy"]);
  });

  it("does not change its mind about a device", () => {
    const behaviour = crashOnBadVersion(1);
    const first = behaviour(badVersion, { index: 4 });
    behaviour(badVersion, { index: 5 });
    expect(behaviour(badVersion, { index: 4 })).toBe(first);
  });

  it("lets no device crash on the good version", () => {
    const behaviour = crashOnBadVersion(1);
    expect([0, 1, 2, 3].map((index) => behaviour(goodVersion, { index }))).toEqual(Array(4).fill("healthy"));
  });
});
