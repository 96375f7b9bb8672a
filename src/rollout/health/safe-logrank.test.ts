import { describe, expect, it } from "vitest";
import {
  eventLogFactors,
  evidenceAgainstHarm,
  evidenceOfHarm,
  evidenceOfRareness,
  hazardRatios,
} from "./safe-logrank.ts";

describe("eventLogFactors()", () => {
  it("is a fair bet: expected evidence of an event is 1 if the update changes nothing", () => {
    for (const atRisk of [
      { updated: 1, control: 1 },
      { updated: 5, control: 95 },
      { updated: 90, control: 10 },
    ]) {
      const share = atRisk.updated / (atRisk.updated + atRisk.control);
      const updated = eventLogFactors("updated", atRisk);
      const control = eventLogFactors("control", atRisk);
      for (const at of hazardRatios.keys()) {
        const expected = share * Math.exp(updated[at] ?? 0) + (1 - share) * Math.exp(control[at] ?? 0);
        expect(expected).toBeCloseTo(1, 12);
      }
    }
  });

  it("says nothing when only one side is at risk", () => {
    for (const factor of eventLogFactors("updated", { updated: 7, control: 0 }))
      expect(factor).toBeCloseTo(0);
    for (const factor of eventLogFactors("control", { updated: 0, control: 7 }))
      expect(factor).toBeCloseTo(0);
  });
});

describe("evidence", () => {
  it("is 1 before anything was seen", () => {
    expect(evidenceOfHarm([])).toBe(1);
    expect(evidenceAgainstHarm([])).toBe(1);
    expect(evidenceOfRareness(0, 0, 1)).toBe(1);
  });

  it("grows with events on the updated side and shrinks with others", () => {
    const updated = eventLogFactors("updated", { updated: 10, control: 90 });
    const control = eventLogFactors("control", { updated: 10, control: 90 });
    expect(evidenceOfHarm(updated)).toBeGreaterThan(1);
    expect(evidenceAgainstHarm(updated)).toBeLessThan(1);
    expect(evidenceOfHarm(control)).toBeLessThan(1);
    expect(evidenceAgainstHarm(control)).toBeGreaterThan(1);
  });

  it("of rareness grows with quiet hours only", () => {
    expect(evidenceOfRareness(0, 2_000, 1 / 480)).toBeGreaterThan(10);
    expect(evidenceOfRareness(5, 2_000, 1 / 480)).toBeLessThan(1);
  });
});
