import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextPresenceChange, presenceAt, presenceCutoffs, presenceOf } from "./presence.ts";

const now = Date.UTC(2026, 0, 1);
const interval = 60_000;

describe("presenceOf", () => {
  it.each([
    ["a heartbeat right now", 0, "online"],
    ["one interval of silence", 60_000, "online"],
    ["exactly 1.5 intervals", 90_000, "online"],
    ["a millisecond more than 1.5 intervals, in the next second", 90_001, "late"],
    ["exactly 4 intervals", 240_000, "late"],
    ["a millisecond more than 4 intervals, in the next second", 240_001, "offline"],
    ["a year of silence", 365 * 86_400_000, "offline"],
    ["a heartbeat ahead of our clock", -5_000, "online"],
    ["a heartbeat a minute ahead, as clocks may differ", -60_999, "online"],
    ["a time to come, which is no sign of life", -61_000, "offline"],
    ["ten years to come", -3_650 * 86_400_000, "offline"],
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

  it("draws the line between whole seconds", () => {
    expect(presenceOf(now - 90_600, now + 300, interval)).toBe("late");
    expect(presenceOf(now - 89_800, now + 300, interval)).toBe("online");
  });

  it("says when silence will count", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1_000, max: 86_400_000 }), fc.nat(10 ** 9), (intervalMs, seen) => {
        for (const presence of ["online", "late"] as const) {
          const at = nextPresenceChange(seen, presence, intervalMs) ?? Number.NaN;
          const order = ["online", "late", "offline"];
          const before = presenceAt(seen, presenceCutoffs((at - 1) * 1_000, intervalMs));
          const after = presenceAt(seen, presenceCutoffs(at * 1_000, intervalMs));
          expect(order.indexOf(before)).toBeLessThanOrEqual(order.indexOf(presence));
          expect(order.indexOf(after)).toBeGreaterThan(order.indexOf(presence));
        }
      }),
    );
  });
});
