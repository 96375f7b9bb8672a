import { describe, expect, test } from "vitest";
import { ClockQuality } from "../../gen/ota/v1/heartbeat_pb.js";
import { ClockCheck } from "./clock-check.ts";

const right = new Date("2026-03-01T12:00:00Z");

/** A clock that can be set. */
function wrongBy(errorMs: number) {
  return {
    errorMs,
    elapsedMs: 0,
    now() {
      return new Date(right.getTime() + this.elapsedMs + this.errorMs);
    },
    monotonicMs() {
      return this.elapsedMs;
    },
  };
}

describe("a device's clock", () => {
  test("is believed until the service says otherwise", () => {
    const check = new ClockCheck(wrongBy(-3_600_000), undefined);
    expect(check.quality).toBe(ClockQuality.SYNCHRONISED);
    check.told(right);
    expect(check.time()).toBeUndefined();
    expect(check.trustedTime()).toBeUndefined();
    expect(check.quality).toBe(ClockQuality.UNSET);
  });

  test("that was never set is not believed", () => {
    const check = new ClockCheck(wrongBy(-right.getTime()), ClockQuality.SYNCHRONISED);
    expect(check.time()).toBeUndefined();
    expect(check.quality).toBe(ClockQuality.UNSET);
  });

  test("that its builder vouches for goes on to decide what has expired, whatever the service says", () => {
    const clock = wrongBy(-3_600_000);
    const check = new ClockCheck(clock, ClockQuality.SYNCHRONISED);
    check.told(right);
    expect(check.trustedTime()).toEqual(clock.now());
    expect(check.quality).toBe(ClockQuality.UNSET);
  });

  test("is believed again once it is set, and no longer when it steps", () => {
    const clock = wrongBy(-3_600_000);
    const check = new ClockCheck(clock, undefined);
    check.told(right);
    clock.elapsedMs = 86_400_000;
    clock.errorMs = 0;
    expect(check.trustedTime()).toEqual(clock.now());
    clock.errorMs = 120_000;
    expect(check.time()).toBeUndefined();
  });

  test("that is a little off is right, and one that is kept by a battery decides nothing", () => {
    const check = new ClockCheck(wrongBy(5_000), ClockQuality.RTC);
    check.told(right);
    expect(check.time()).toBeDefined();
    expect(check.quality).toBe(ClockQuality.RTC);
    expect(check.trustedTime()).toBeUndefined();
  });
});
