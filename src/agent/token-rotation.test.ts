import { describe, expect, it } from "vitest";
import { rotationDueMs } from "./token-rotation.ts";

const day = 86_400_000;
const since = Date.UTC(2026, 0, 1);
const due = (times: Parameters<typeof rotationDueMs>[0]) => rotationDueMs(times, 30 * day) - since;

describe("rotationDueMs", () => {
  it("is the age for a token that does not end, and for one that lives long", () => {
    expect(due({ tokenSinceMs: since })).toBe(30 * day);
    expect(due({ tokenSinceMs: since, tokenExpiresMs: since + 365 * day })).toBe(30 * day);
  });

  it("is half of a shorter life", () => {
    expect(due({ tokenSinceMs: since, tokenExpiresMs: since + 14 * day })).toBe(7 * day);
  });

  it("is not again and again on a device whose clock is ahead of the token's end", () => {
    expect(due({ tokenSinceMs: since, tokenExpiresMs: since - 900 * day })).toBe(day / 2);
  });

  it("is now for a token of an age that nobody knows", () => {
    expect(due({})).toBe(Number.NEGATIVE_INFINITY);
  });
});
