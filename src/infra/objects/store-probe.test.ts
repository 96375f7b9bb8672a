import { expect, it } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import { StoreProbe } from "./store-probe.ts";

it("asks the store once in a while, and at each question while it does not answer", async () => {
  const clock = new FakeClock();
  let calls = 0;
  let away = false;
  const store = {
    check: async () => {
      calls++;
      if (away) throw new Error("away");
    },
  };
  const probe = new StoreProbe({ store, goodForMs: 5_000, clock });
  const { signal } = new AbortController();
  await probe.check(signal);
  clock.advance(4_999);
  away = true;
  await probe.check(signal);
  expect(calls).toBe(1);
  clock.advance(1);
  await expect(probe.check(signal)).rejects.toThrow("away");
  await expect(probe.check(signal)).rejects.toThrow("away");
  away = false;
  await probe.check(signal);
  expect(calls).toBe(4);
});
