import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { presenceOf } from "./presence.ts";

const now = Date.UTC(2026, 0, 1);
const interval = 60_000;

describe("presenceOf", () => {
  it.each([
    ["a heartbeat right now", 0, "online"],
    ["one interval of silence", 60_000, "online"],
    ["exactly 1.5 intervals", 90_000, "online"],
    ["a millisecond more than 1.5 intervals", 90_001, "late"],
    ["exactly 4 intervals", 240_000, "late"],
    ["a millisecond more than 4 intervals", 240_001, "offline"],
    ["a year of silence", 365 * 86_400_000, "offline"],
    ["a heartbeat ahead of our clock", -5_000, "online"],
  ])("judges %s", (_, silentMs, presence) => {
    expect(presenceOf(now - silentMs, now, interval)).toBe(presence);
  });

  it("knows nothing of a device that never sent a heartbeat", () => {
    expect(presenceOf(undefined, now, interval)).toBe("unknown");
  });

  it("takes the epoch for a time, not for never", () => {
    expect(presenceOf(0, now, interval)).toBe("offline");
  });

  it("only ever gets worse while a device stays silent", () => {
    const order = ["online", "late", "offline"];
    fc.assert(
      fc.property(
        fc.integer({ min: 1_000, max: 86_400_000 }),
        fc.nat(10 ** 9),
        fc.nat(10 ** 9),
        (intervalMs, first, more) => {
          const before = order.indexOf(presenceOf(now, now + first, intervalMs));
          const after = order.indexOf(presenceOf(now, now + first + more, intervalMs));
          expect(before).toBeGreaterThanOrEqual(0);
          expect(after).toBeGreaterThanOrEqual(before);
        },
      ),
    );
  });

  it("scales with the interval", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), fc.nat(100_000), (factor, silentMs) => {
        expect(presenceOf(now - silentMs * factor, now, 1_000 * factor)).toBe(
          presenceOf(now - silentMs, now, 1_000),
        );
      }),
    );
  });
});
