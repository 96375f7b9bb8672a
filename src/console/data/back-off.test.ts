import { describe, expect, it } from "vitest";
import { backOffMs } from "./back-off.ts";

describe("backOffMs", () => {
  it("doubles from half a second and stays at fifteen", () => {
    expect([0, 1, 2, 5, 6, 50].map((failures) => backOffMs(failures, 1))).toEqual([
      500, 1_000, 2_000, 15_000, 15_000, 15_000,
    ]);
  });

  it("spreads over the upper half", () => {
    expect(backOffMs(3, 0)).toBe(2_000);
    expect(backOffMs(3, 0.5)).toBe(3_000);
  });
});
