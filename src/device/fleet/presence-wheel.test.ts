import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Presence, presenceAt, presenceCutoffs } from "../state/presence.ts";
import { PresenceWheel } from "./presence-wheel.ts";

const interval = 60_000;
const startMs = 1_000_000_000;
const start = startMs / 1_000;

describe("PresenceWheel", () => {
  it("says once that a device is late, and once that it is offline", () => {
    const wheel = new PresenceWheel(interval, 10);
    wheel.add("a", start, startMs);
    expect(wheel.turn(startMs + 90_999)).toEqual([]);
    expect(wheel.turn(startMs + 91_000)).toEqual([
      { deviceId: "a", presence: "late", previous: "online", seenSecond: start },
    ]);
    expect(wheel.turn(startMs + 240_000)).toEqual([]);
    expect(wheel.turn(startMs + 241_000)).toEqual([
      { deviceId: "a", presence: "offline", previous: "late", seenSecond: start },
    ]);
    expect(wheel.size).toBe(0);
  });

  it("says that a late device is back", () => {
    const wheel = new PresenceWheel(interval, 10);
    wheel.add("a", start, startMs);
    wheel.turn(startMs + 100_000);
    expect(wheel.heard("a", start + 100)).toMatchObject({ presence: "online", previous: "late" });
    expect(wheel.heard("a", start + 101)).toBeUndefined();
    expect(wheel.turn(startMs + 191_000)).toEqual([]);
    expect(wheel.turn(startMs + 192_000)).toMatchObject([{ presence: "late" }]);
  });

  it("goes by a clock that was set back: who is silent is late in time, and who is heard is not", () => {
    const wheel = new PresenceWheel(interval, 10);
    for (const id of ["silent", "heard"]) wheel.add(id, start, startMs);
    wheel.turn(startMs + 1_000);
    const backMs = startMs - 3_600_000;
    expect(wheel.turn(backMs)).toEqual([]);
    wheel.heard("heard", backMs / 1_000 + 60);
    expect(wheel.turn(backMs + 91_000)).toMatchObject([{ deviceId: "silent", presence: "late" }]);
    expect(wheel.turn(backMs + 151_000)).toMatchObject([{ deviceId: "heard", presence: "late" }]);
  });

  it("judges a device by its own interval, and by another one once that is said", () => {
    const day = 86_400_000;
    const wheel = new PresenceWheel(interval, 10);
    wheel.add("daily", start, startMs, day);
    expect(wheel.turn(startMs + day)).toEqual([]);
    expect(wheel.turn(startMs + 1.5 * day + 1_000)).toMatchObject([{ deviceId: "daily", presence: "late" }]);
    expect(wheel.expect("daily", startMs + 2 * day, 2 * day)).toMatchObject({ presence: "online" });
    expect(wheel.turn(startMs + 2.9 * day)).toEqual([]);
    // By the interval of all it has been offline for long.
    expect(wheel.expect("daily", startMs + 2.9 * day)).toMatchObject({
      presence: "offline",
      previous: "online",
    });
    expect([wheel.size, wheel.expect("daily", startMs + 3 * day, day)]).toEqual([0, undefined]);
    expect(wheel.turn(startMs + 100 * day)).toEqual([]);
  });

  it("holds no more devices than it may", () => {
    const wheel = new PresenceWheel(interval, 1);
    expect(wheel.add("a", start, startMs)).toBe(true);
    expect(wheel.add("b", start, startMs)).toBe(false);
    wheel.forget("a");
    expect(wheel.add("b", start, startMs)).toBe(true);
  });

  it("agrees with a judgement of every device at every turn, whatever happens", () => {
    // Where an interval and a half is no whole number of seconds, the wheel notices in the next one.
    const evenSeconds = fc.integer({ min: 1, max: 300 }).map((half) => half * 2_000);
    const step = fc.record({
      afterMs: fc.integer({ min: 0, max: 400_000 }),
      heard: fc.array(fc.constantFrom("a", "b", "c", "d"), { maxLength: 4 }),
      expected: fc.dictionary(fc.constantFrom("a", "b"), fc.option(evenSeconds)),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const wheel = new PresenceWheel(interval, 10);
        const seen = new Map<string, number>();
        const told = new Map<string, Presence>();
        const own = new Map<string, number | undefined>();
        let nowMs = startMs;
        for (const { afterMs, heard, expected } of steps) {
          nowMs += afterMs;
          for (const { deviceId, presence } of wheel.turn(nowMs)) told.set(deviceId, presence);
          const second = Math.floor(nowMs / 1_000);
          for (const id of heard) {
            seen.set(id, second);
            if (wheel.has(id)) wheel.heard(id, second);
            else wheel.add(id, second, nowMs, own.get(id));
            told.set(id, "online");
          }
          for (const [id, intervalMs] of Object.entries(expected)) {
            own.set(id, intervalMs ?? undefined);
            const change = wheel.expect(id, nowMs, own.get(id));
            if (change !== undefined) told.set(id, change.presence);
            const at = seen.get(id);
            if (at === undefined || wheel.has(id)) continue;
            // One that was offline, and forgotten, need not be so by another interval.
            wheel.add(id, at, nowMs, own.get(id));
            told.set(id, presenceAt(at, presenceCutoffs(nowMs, own.get(id) ?? interval)));
          }
          for (const [id, at] of seen) {
            expect(told.get(id)).toBe(presenceAt(at, presenceCutoffs(nowMs, own.get(id) ?? interval)));
          }
        }
      }),
    );
  });
});
