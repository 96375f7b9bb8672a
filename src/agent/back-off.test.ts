import { expect, test } from "vitest";
import { BackOff } from "./back-off.ts";

test("waits double up to the cap and start again after a success", () => {
  const backOff = new BackOff({ baseMs: 100, capMs: 500, random: () => 1 });
  const waits = Array.from({ length: 5 }, () => backOff.next());
  expect(waits).toEqual([100, 200, 400, 500, 500]);
  backOff.reset();
  expect(backOff.next()).toBe(100);
});

test("jitter spreads a wait from a tenth to the whole, and stays above what the service asked for", () => {
  expect(new BackOff({ baseMs: 100, capMs: 500, random: () => 0 }).next()).toBe(10);
  expect(new BackOff({ baseMs: 100, capMs: 500, random: () => 0 }).next(2000)).toBe(2010);
});

test("a thousand failures do not overflow the cap", () => {
  const backOff = new BackOff({ baseMs: 100, capMs: 500, random: () => 1 });
  for (let index = 0; index < 1000; index++) backOff.next();
  expect(backOff.next()).toBe(500);
});
