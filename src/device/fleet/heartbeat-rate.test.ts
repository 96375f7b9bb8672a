import { expect, it } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import { HeartbeatRate } from "./heartbeat-rate.ts";

it("is the mean of the last ten whole seconds", () => {
  const clock = new FakeClock(new Date());
  const rate = new HeartbeatRate(clock);
  for (let second = 0; second < 20; second++) {
    rate.observe({ length: 30 });
    clock.advance(1_000);
  }
  expect(rate.perSecond()).toBe(30);
  clock.advance(5_000);
  expect(rate.perSecond()).toBe(15);
  rate.observe({ length: 1_000 });
  expect(rate.perSecond()).toBe(15);
  clock.advance(1_000_000);
  expect(rate.perSecond()).toBe(0);
});
