import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SecondChanceCache } from "./second-chance-cache.ts";

function entry(name: string) {
  return { name, used: false };
}

describe("SecondChanceCache", () => {
  it("forgets what was not used before what was", () => {
    const cache = new SecondChanceCache<{ name: string; used: boolean }>(2);
    cache.set("a", entry("a"));
    cache.set("b", entry("b"));
    expect(cache.get("a")?.name).toBe("a");
    cache.set("c", entry("c"));
    expect(cache.peek("a")?.name).toBe("a");
    expect(cache.peek("b")).toBeUndefined();
    expect(cache.peek("c")?.name).toBe("c");
  });

  it("does not count a peek as a use", () => {
    const cache = new SecondChanceCache<{ name: string; used: boolean }>(2);
    cache.set("a", entry("a"));
    cache.set("b", entry("b"));
    cache.peek("a");
    cache.set("c", entry("c"));
    expect(cache.peek("a")).toBeUndefined();
  });

  it("makes room when everything was used", () => {
    const cache = new SecondChanceCache<{ name: string; used: boolean }>(2);
    for (const name of ["a", "b"]) {
      cache.set(name, entry(name));
      cache.get(name);
    }
    cache.set("c", entry("c"));
    expect(cache.size).toBe(2);
    expect(cache.peek("c")?.name).toBe("c");
  });

  it("gives each a turn before any has a second one", () => {
    const cache = new SecondChanceCache<{ name: string; used: boolean }>(3);
    for (const name of ["a", "b", "c"]) {
      cache.set(name, entry(name));
      cache.get(name);
    }
    cache.set("d", entry("d"));
    // All lost their mark while the hand went round, and the first one went.
    expect(["a", "b", "c", "d"].filter((name) => cache.peek(name) !== undefined)).toEqual(["b", "c", "d"]);
    cache.get("b");
    cache.set("e", entry("e"));
    expect(["b", "c", "d", "e"].filter((name) => cache.peek(name) !== undefined)).toEqual(["b", "d", "e"]);
  });

  it("makes room without passing over all that it forgot before", () => {
    const cache = new SecondChanceCache<{ name: string; used: boolean }>(200_000);
    for (let i = 0; i < 200_000; i++) cache.set(`old ${i}`, entry("old"));
    const before = process.cpuUsage();
    for (let i = 0; i < 200_000; i++) cache.set(`new ${i}`, entry("new"));
    // It takes a tenth of that; passing over them took seven seconds.
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(3_500);
  });

  it("never holds more than it may, and always what was set last", () => {
    const names = fc.constantFrom("a", "b", "c", "d", "e", "f");
    const steps = fc.array(fc.tuple(fc.constantFrom("get", "set"), names));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), steps, names, (max, actions, last) => {
        const cache = new SecondChanceCache<{ name: string; used: boolean }>(max);
        const sizes: number[] = [];
        for (const [action, name] of [...actions, ["set", last] as const]) {
          if (action === "set") cache.set(name, entry(name));
          else cache.get(name);
          sizes.push(cache.size);
        }
        expect(Math.max(...sizes)).toBeLessThanOrEqual(max);
        expect(cache.peek(last)?.name).toBe(last);
        expect(cache.delete(last)).toBe(true);
        expect(cache.peek(last)).toBeUndefined();
      }),
    );
  });
});
