import { beforeEach, expect, test } from "vitest";
import { FakeClock } from "../../test/support/fake-clock.ts";
import { systemClock } from "./clock.ts";
import { type ClockGap, ClockWatch } from "./clock-watch.ts";

let clock: FakeClock;
let watch: ClockWatch;
let gaps: ClockGap[];

beforeEach(() => {
  clock = new FakeClock("2026-06-01T00:00:00Z");
  watch = new ClockWatch({ clock, lookEveryMs: 1_000 });
  gaps = [];
  watch.onGap((gap) => gaps.push(gap));
});

/** A second and what happened in it. */
function second(event: () => void = () => undefined): void {
  clock.advance(1_000);
  event();
  watch.look();
}

test("time that just passes, a little late or slowed down by NTP, is no gap", () => {
  for (let count = 0; count < 100; count++) second();
  second(() => clock.advance(1_900));
  second(() => clock.setWallClock(new Date(clock.now().getTime() + 500)));
  expect(gaps).toEqual([]);
});

test("a process that was stopped heard nobody", () => {
  second(() => clock.advance(90_000));
  second();
  expect(gaps).toEqual([
    { noticedAt: new Date("2026-06-01T00:01:31Z"), deafMs: 90_000, asleepMs: 0, steppedMs: 0 },
  ]);
});

test("a machine that slept heard nobody, and its wall clock was not set", () => {
  second(() => clock.sleep(3_600_000));
  second();
  expect(gaps).toEqual([
    { noticedAt: new Date("2026-06-01T01:00:01Z"), deafMs: 3_600_000, asleepMs: 3_600_000, steppedMs: 0 },
  ]);
});

test("a wall clock that is set, forward or back, deafens nobody", () => {
  second(() => clock.setWallClock("2026-06-02T00:00:01Z"));
  second(() => clock.setWallClock("2026-06-01T00:00:02Z"));
  expect(gaps.map(({ deafMs, steppedMs }) => ({ deafMs, steppedMs }))).toEqual([
    { deafMs: 0, steppedMs: 86_400_000 },
    { deafMs: 0, steppedMs: -86_400_000 },
  ]);
});

test("one gap tells of all that happened in it", () => {
  second(() => {
    clock.sleep(10_000);
    clock.advance(5_000);
    clock.setWallClock(new Date(clock.now().getTime() - 60_000));
  });
  expect(gaps).toMatchObject([{ deafMs: 15_000, asleepMs: 10_000, steppedMs: -60_000 }]);
});

test("a listener that left is told no more", () => {
  const heard: ClockGap[] = [];
  const leave = watch.onGap((gap) => heard.push(gap));
  second(() => clock.sleep(10_000));
  leave();
  second(() => clock.sleep(10_000));
  expect(heard).toHaveLength(1);
  expect(gaps).toHaveLength(2);
});

test("the machine's own clocks go on together", async () => {
  const boot = systemClock.sinceBootMs();
  const monotonic = systemClock.monotonicMs();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const passed = systemClock.sinceBootMs() - boot;
  expect(passed).toBeGreaterThan(0);
  // To the hundredth of a second in which the system says it.
  expect(Math.abs(passed - (systemClock.monotonicMs() - monotonic))).toBeLessThan(1_000);
});
