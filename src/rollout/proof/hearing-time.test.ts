import { describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import { HearingTime } from "./hearing-time.ts";

const second = 1_000;
const minute = 60 * second;
const day = 24 * 60 * minute;
const graceMs = 3 * minute;

function scene() {
  const clock = new FakeClock();
  const lost: number[] = [];
  const hearing = new HearingTime(clock, graceMs, { lost: (fromMs, toMs) => void lost.push(toMs - fromMs) });
  hearing.look();
  const pass = (ms: number): void => {
    for (let passed = 0; passed < ms; passed += second) {
      clock.advance(second);
      hearing.look();
    }
  };
  return { clock, hearing, lost, pass };
}

describe("the time in which devices could be heard", () => {
  it("goes on while somebody looks", () => {
    const { hearing, pass } = scene();
    pass(5 * minute);
    expect([hearing.ms, hearing.isSettled]).toEqual([5 * minute, true]);
  });

  it.each<[string, (clock: FakeClock) => void, lost: number[]]>([
    ["the process was stopped, or the database away", (clock) => clock.advance(30 * minute), []],
    ["the machine slept", (clock) => clock.sleep(day), [day]],
    [
      "the clock was set forward",
      (clock) => clock.setWallClock(new Date(clock.now().getTime() + day)),
      [day],
    ],
    ["the clock was set back", (clock) => clock.setWallClock(new Date(clock.now().getTime() - day)), []],
  ])("hardly does when %s, and devices have time to be heard again", (_, happen, expected) => {
    const { clock, hearing, lost, pass } = scene();
    pass(minute);
    happen(clock);
    hearing.look();
    expect(hearing.ms).toBeLessThanOrEqual(minute + 10 * second);
    expect(hearing.isSettled).toBe(false);
    expect(lost).toEqual(expected);
    pass(graceMs);
    expect(hearing.isSettled).toBe(true);
  });
});
