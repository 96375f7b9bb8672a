import { describe, expect, test, vi } from "vitest";
import { BackOff, retry } from "./back-off.ts";

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

describe("retry", () => {
  const soon = { baseMs: 1, capMs: 1, signal: undefined };

  test("tries until it works, and tells which try it is", async () => {
    const tried: number[] = [];
    const result = await retry(async (attempt) => {
      tried.push(attempt);
      if (attempt < 3) throw new Error("not yet");
      return "done";
    }, soon);
    expect(result).toBe("done");
    expect(tried).toEqual([1, 2, 3]);
  });

  test("throws the last failure after the last try, and at once one that no other try mends", async () => {
    const failing = vi.fn<(attempt: number) => Promise<never>>(async (attempt) => {
      throw new Error(`failure ${attempt}`);
    });
    await expect(retry(failing, { ...soon, attempts: 3 })).rejects.toThrow("failure 3");
    await expect(retry(failing, { ...soon, isWorthRetrying: () => false })).rejects.toThrow("failure 1");
    expect(failing).toHaveBeenCalledTimes(4);
  });

  test("a signal ends a wait that a failure made long, with its reason", async () => {
    const controller = new AbortController();
    const asked = Promise.withResolvers<void>();
    const retried = retry(
      async () => {
        throw new Error("busy");
      },
      {
        ...soon,
        signal: controller.signal,
        atLeastMs: () => {
          asked.resolve();
          return 3_600_000;
        },
      },
    );
    await asked.promise;
    controller.abort();
    await expect(retried).rejects.toMatchObject({ name: "AbortError" });
  });
});
