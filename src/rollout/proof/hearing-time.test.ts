import { describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import type { ClockStep } from "./hearing-span.ts";
import { HearingTime } from "./hearing-time.ts";

const second = 1_000;
const minute = 60 * second;
const day = 24 * 60 * minute;
const graceMs = 3 * minute;

interface Before {
  readonly clock?: FakeClock;
  readonly lastHeard?: Date;
  readonly steps?: readonly ClockStep[];
}

function scene({ clock = new FakeClock(), lastHeard, steps: before = [] }: Before = {}) {
  const steps: ClockStep[] = [];
  const lost: number[] = [];
  const outages = { lost: (fromMs: number, toMs: number) => void lost.push(toMs - fromMs) };
  const hearing = new HearingTime({
    clock,
    graceMs,
    outages,
    before: { lastHeard, steps: before },
    stepped: (at) => steps.push(at),
  });
  hearing.look();
  const pass = (ms: number): void => {
    for (let passed = 0; passed < ms; passed += second) {
      clock.advance(second);
      hearing.look();
    }
  };
  return { clock, hearing, lost, pass, steps };
}

describe("the time in which devices could be heard", () => {
  it("goes on while somebody looks", () => {
    const { hearing, pass } = scene();
    pass(5 * minute);
    expect([hearing.ms, hearing.isSettled]).toEqual([5 * minute, true]);
  });

  it.each<[string, (clock: FakeClock) => void, lost: number[]]>([
    ["the process was stopped, or the database away", (clock) => clock.stall(30 * minute), []],
    ["the machine slept", (clock) => clock.sleep(day), [day]],
    [
      "the clock was set forward",
      (clock) => clock.setWallClock(new Date(clock.now().getTime() + day)),
      [day],
    ],
    ["the clock was set back", (clock) => clock.setWallClock(new Date(clock.now().getTime() - day)), []],
  ])("does not when %s, and devices have time to be heard again", (_, happen, expected) => {
    const { clock, hearing, lost, pass } = scene();
    pass(minute);
    happen(clock);
    hearing.look();
    expect(hearing.ms).toBe(minute);
    expect(hearing.isSettled).toBe(false);
    expect(lost).toEqual(expected);
    pass(graceMs);
    expect(hearing.isSettled).toBe(true);
  });
});

describe("between two times of the clock", () => {
  const gaps: [string, (clock: FakeClock) => void, realMs: number][] = [
    ["nothing happened", () => undefined, 0],
    ["the process was stopped", (clock) => clock.stall(30 * second), 30 * second],
    ["the machine slept", (clock) => clock.sleep(day), day],
    ["the clock was set forward", (clock) => step(clock, day), 0],
    ["the clock was set back", (clock) => step(clock, -60 * minute), 0],
    ["it was set forward and put right", (clock) => (step(clock, day), step(clock, -day)), 0],
  ];

  it.each(gaps)("only time counts in which devices could be heard: %s", (_, happen, realMs) => {
    const { clock, hearing, pass } = scene();
    pass(minute);
    const from = hearing.now();
    pass(2 * minute);
    happen(clock);
    expect(hearing.between(from)).toBeLessThanOrEqual(2 * minute + 10 * second);
    hearing.look();
    pass(3 * minute);
    expect(hearing.between(from)).toBe(5 * minute);
    expect(hearing.elapsed(from)).toBe(5 * minute + realMs);
    expect(hearing.between(hearing.ago(2 * minute))).toBe(2 * minute);
    expect(hearing.between(hearing.ago(4 * minute))).toBe(4 * minute);
  });

  it("a step shows to nobody before it is noticed", () => {
    const { clock, hearing, pass } = scene();
    pass(minute);
    const from = hearing.now();
    step(clock, day);
    clock.stall(500);
    expect([hearing.between(from), hearing.now().getTime() - from.getTime()]).toEqual([500, 500]);
    // A heartbeat was received in the meantime.
    expect(hearing.between(from, clock.now())).toBe(500);
  });

  it("a time that the clock showed twice is the later one", () => {
    const { clock, hearing, pass } = scene();
    pass(minute);
    step(clock, -30 * second);
    hearing.look();
    pass(10 * second);
    expect(hearing.between(new Date(clock.now().getTime() - 5 * second))).toBe(5 * second);
    // It has been shown once as yet.
    expect(hearing.between(new Date(clock.now().getTime() + 5 * second))).toBe(25 * second);
  });

  it("what is received after the last look counts, also where the clock showed that time long before", () => {
    const { clock, hearing, pass } = scene();
    pass(minute);
    step(clock, -day);
    hearing.look();
    pass(graceMs);
    const from = clock.now();
    pass(5 * minute);
    clock.advance(500);
    expect(hearing.between(from, clock.now())).toBe(5 * minute + 500);
  });

  it("what nobody heard before the start does not count", () => {
    const clock = new FakeClock();
    const from = clock.now();
    clock.stall(2 * minute);
    const lastHeard = clock.now();
    clock.stall(day);
    const { hearing, pass } = scene({ clock, lastHeard });
    pass(minute);
    expect(hearing.between(from)).toBe(3 * minute);
    expect(hearing.elapsed(from)).toBe(3 * minute + day);
  });

  it.each([
    ["forward", [day]],
    ["back", [-60 * minute]],
    ["forward and put right", [day, -day]],
    ["back and forward", [-60 * minute, day]],
  ])("that the clock was set %s before the start is known, also if two replicas noted it", (_, sizes) => {
    const { clock, pass, steps, hearing: earlier } = scene();
    pass(minute);
    const from = clock.now();
    pass(2 * minute);
    for (const size of sizes) {
      step(clock, size);
      earlier.look();
      pass(minute);
    }
    expect(steps.map(({ fromMs, toMs }) => toMs - fromMs)).toEqual(sizes);
    const twice = steps.flatMap((each) => [each, { fromMs: each.fromMs + 1_500, toMs: each.toMs + 1_500 }]);
    const heardMs = (2 + sizes.length) * minute;
    expect(earlier.between(from)).toBe(heardMs);
    for (const known of [steps, twice]) {
      const later = scene({ clock, lastHeard: clock.now(), steps: known }).hearing;
      expect(later.between(from)).toBe(heardMs);
      expect(later.elapsed(from)).toBe(heardMs);
      expect(later.ago(heardMs)).toEqual(from);
    }
  });
});

function step(clock: FakeClock, ms: number): void {
  clock.setWallClock(new Date(clock.now().getTime() + ms));
}
