import { expect, test } from "vitest";
import { seededRandom } from "./seeded-random.ts";
import { behaviourByRates } from "./simulated-behaviour.ts";

const devices = Array.from({ length: 3000 }, (_, index) => ({ index }));

test("a third crashes on the named version and nobody on another", () => {
  const behaviour = behaviourByRates({ crash: { "1.2.0": 1 / 3 } }, 7);
  const crashing = devices.filter((device) => behaviour("1.2.0", device) === "crash").length;
  expect(crashing / devices.length).toBeCloseTo(1 / 3, 1);
  expect(devices.every((device) => behaviour("1.1.0", device) === "healthy")).toBe(true);
});

test("the same seed tells the same story, another seed another one", () => {
  const story = (seed: number) =>
    devices.map((device) => behaviourByRates({ failureRate: 0.2, revertRate: 0.2 }, seed)("1.1.0", device));
  expect(story(1)).toEqual(story(1));
  expect(story(1)).not.toEqual(story(2));
});

test("seeded numbers lie in [0, 1), spread evenly, and are frozen", () => {
  const random = seededRandom("seed", 1);
  const numbers = Array.from({ length: 5000 }, random);
  expect(numbers.every((number) => number >= 0 && number < 1)).toBe(true);
  expect(numbers.reduce((sum, number) => sum + number, 0) / numbers.length).toBeCloseTo(0.5, 1);
  expect(numbers.slice(0, 2)).toMatchInlineSnapshot(`
    [
      0.9034967271145433,
      0.009456267580389977,
    ]
  `);
});
