import { expect, it } from "vitest";
import { withIdleLimit } from "./idle-limit.ts";

const limit = { idleMs: 10, tooLong: () => new Error("silent for too long") };
const { signal } = new AbortController();

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const seen: T[] = [];
  for await (const value of source) seen.push(value);
  return seen;
}

async function* values(count: number, end: Promise<void>) {
  for (let value = 1; value <= count; value++) yield value;
  await end;
}

it("passes on what comes, until the source ends", async () => {
  expect(await all(withIdleLimit(values(3, Promise.resolve()), limit, signal))).toEqual([1, 2, 3]);
});

it("ends with an error once the source stays silent", async () => {
  const seen: number[] = [];
  const reading = async () => {
    for await (const value of withIdleLimit(values(2, new Promise(() => undefined)), limit, signal))
      seen.push(value);
  };
  await expect(reading()).rejects.toThrow("silent for too long");
  expect(seen).toEqual([1, 2]);
});

it("ends with the signal's reason once that aborts", async () => {
  const leaving = AbortSignal.abort(new Error("gone"));
  await expect(all(withIdleLimit(values(2, Promise.resolve()), limit, leaving))).rejects.toThrow("gone");
});
