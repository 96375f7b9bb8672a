import { getEventListeners } from "node:events";
import { expect, it } from "vitest";
import { Changes } from "./changes.ts";

it("wakes all who wait, once, and leaves nothing with their signals", async () => {
  const changes = new Changes();
  const { signal } = new AbortController();
  changes.tell();
  const woken = Promise.all([changes.next(signal), changes.next(signal)]);
  changes.tell();
  expect(await woken).toEqual([true, true]);
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

it("says so when the signal aborts first, or has", async () => {
  const changes = new Changes();
  const stop = new AbortController();
  const waiting = changes.next(stop.signal);
  stop.abort();
  changes.tell();
  expect(await waiting).toBe(false);
  expect(await changes.next(stop.signal)).toBe(false);
});
