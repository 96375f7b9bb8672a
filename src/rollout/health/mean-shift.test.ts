import { describe, expect, it } from "vitest";
import { evidenceAgainstRise, evidenceOfRise, minControlDevices, shiftOf } from "./mean-shift.ts";

const steady = Array.from({ length: 40 }, (_, at) => (at % 5) - 2);

describe("shiftOf()", () => {
  it("tells how far updated devices moved beyond the others", () => {
    const shift = shiftOf({ updated: steady.map((value) => value + 3), control: steady }, 0.1);
    expect(shift === undefined ? 0 : shift.score / shift.information).toBeCloseTo(3);
  });

  it("takes away what all devices did", () => {
    const raised = steady.map((value) => value + 30);
    expect(shiftOf({ updated: raised, control: raised }, 0.1)?.score).toBeCloseTo(0);
  });

  it("lets one broken sensor decide nothing", () => {
    const broken = [...steady, 1e9];
    const shift = shiftOf({ updated: broken, control: steady }, 0.1);
    expect(shift === undefined ? 99 : shift.score / shift.information).toBeLessThan(0.5);
  });

  it("cannot tell without enough devices that stayed, or without updated ones", () => {
    expect(shiftOf({ updated: [1], control: steady.slice(0, minControlDevices - 1) }, 0.1)).toBeUndefined();
    expect(shiftOf({ updated: [], control: steady }, 0.1)).toBeUndefined();
  });
});

describe("evidence of a rise", () => {
  it("is 1 before anything was seen", () => {
    expect(evidenceOfRise(0, 0, 5)).toBeCloseTo(1, 6);
    expect(evidenceAgainstRise(0, 0, 5)).toBe(1);
  });

  it("grows with a rise, falls without one, and stays finite", () => {
    expect(evidenceOfRise(5 * 4, 4, 5)).toBeGreaterThan(1_000);
    expect(evidenceOfRise(0, 4, 5)).toBeLessThan(1);
    expect(evidenceAgainstRise(0, 4, 5)).toBeGreaterThan(10);
    expect(evidenceOfRise(1e6, 1e6, 5)).toBeLessThan(Number.POSITIVE_INFINITY);
    expect(evidenceAgainstRise(-1e6, 1e6, 5)).toBeLessThan(Number.POSITIVE_INFINITY);
  });
});
