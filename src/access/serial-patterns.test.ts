import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { matchesSerialPattern, serialPatternFault } from "./serial-patterns.ts";

describe("a pattern of serial numbers", () => {
  it.each([
    ["TH-2026-*", "TH-2026-0001", true],
    ["TH-2026-*", "TH-2026-", true],
    ["TH-2026-*", "TH-2025-0001", false],
    ["TH-2026-*", "xTH-2026-1", false],
    ["*-EU", "TH-1-EU", true],
    ["*-EU", "TH-1-EU2", false],
    ["A*B*C", "AxByC", true],
    ["A*B*C", "AC", false],
    ["A*B*C", "ABBC", true],
    // What the end needs is not there twice.
    ["AB*BC", "ABC", false],
    ["AB*BC", "ABBC", true],
    ["*BC*BC", "xBC", false],
    ["*", "anything", true],
    ["**", "anything", true],
    ["exact", "exact", true],
    ["exact", "exactly", false],
    // Nothing else means anything.
    ["TH-.+", "TH-12", false],
    ["TH-?", "TH-1", false],
    ["[A-Z]*", "A1", false],
    ["[A-Z]*", "[A-Z]1", true],
  ])("%s and %s: %s", (pattern, serialNumber, matches) => {
    expect(matchesSerialPattern(pattern, serialNumber)).toBe(matches);
  });

  it("matches what it was made from, with anything for its stars", () => {
    const piece = fc.string({ maxLength: 6, unit: fc.constantFrom("a", "b", "-") });
    fc.assert(
      fc.property(fc.array(fc.tuple(piece, piece), { minLength: 1, maxLength: 6 }), piece, (pairs, end) => {
        const pattern = pairs.map(([text]) => `${text}*`).join("") + end;
        const text = pairs.map(([part, filling]) => part + filling).join("") + end;
        expect(matchesSerialPattern(pattern, text)).toBe(true);
      }),
    );
  });

  it("means what the same expression would, which is not used", () => {
    const letters = (...units: string[]) => fc.string({ maxLength: 10, unit: fc.constantFrom(...units) });
    fc.assert(
      fc.property(letters("a", "b", "*"), letters("a", "b"), (pattern, text) => {
        const expression = new RegExp(`^${pattern.replaceAll(/\*+/gu, ".*")}$`, "u");
        expect(matchesSerialPattern(pattern, text)).toBe(expression.test(text));
      }),
    );
  });

  it("must be able to match a serial number", () => {
    expect(serialPatternFault("TH-*")).toBeUndefined();
    expect(serialPatternFault("* *")).toBeUndefined();
    for (const pattern of ["", " TH-*", "TH\n*", "TH\u202E*", "x".repeat(129), "e\u0301*"])
      expect(serialPatternFault(pattern), pattern).toEqual(expect.any(String));
  });
});
