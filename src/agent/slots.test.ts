import { expect, test } from "vitest";
import { Slots } from "./slots.ts";

test("no more than the bound hold a slot, and the others follow in order", async () => {
  const slots = new Slots(2);
  const { signal } = new AbortController();
  const order: number[] = [];
  let holding = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 8 }, async (_, index) => {
      const release = await slots.acquire(signal);
      most = Math.max(most, ++holding);
      order.push(index);
      await new Promise((resolve) => setImmediate(resolve));
      holding--;
      release();
      release();
    }),
  );
  expect(most).toBe(2);
  expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
});

test("whoever stops waiting takes no slot away", async () => {
  const slots = new Slots(1);
  const controller = new AbortController();
  const release = await slots.acquire(new AbortController().signal);
  const impatient = slots.acquire(controller.signal);
  const patient = slots.acquire(new AbortController().signal);
  controller.abort();
  await expect(impatient).rejects.toThrow();
  release();
  await expect(patient).resolves.toBeTypeOf("function");
});
