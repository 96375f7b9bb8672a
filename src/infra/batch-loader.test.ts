import { describe, expect, it } from "vitest";
import { BatchLoader } from "./batch-loader.ts";

/** A loader whose loads end when the test says so. */
function controlled(limits: { maxBatch?: number; maxPending?: number } = {}) {
  const loads: {
    keys: readonly string[];
    answer: (values: Record<string, string>) => void;
    fail: (error: Error) => void;
  }[] = [];
  const started: (() => void)[] = [];
  const loader = new BatchLoader<string>({
    maxBatch: limits.maxBatch ?? 100,
    maxPending: limits.maxPending ?? 100,
    load: (keys) => {
      const { promise, resolve, reject } = Promise.withResolvers<ReadonlyMap<string, string>>();
      loads.push({ keys, answer: (values) => resolve(new Map(Object.entries(values))), fail: reject });
      started.shift()?.();
      return promise;
    },
  });
  return { loader, loads, nextLoad: () => new Promise<void>((resolve) => started.push(resolve)) };
}

describe("BatchLoader", () => {
  it("loads what is asked for together at once, and each key once", async () => {
    const { loader, loads, nextLoad } = controlled();
    const begun = nextLoad();
    const answers = Promise.all([loader.get("a"), loader.get("b"), loader.get("a"), loader.get("missing")]);
    await begun;
    expect(loads.map((load) => load.keys)).toEqual([["a", "b", "missing"]]);
    loads[0]?.answer({ a: "A", b: "B" });
    expect(await answers).toEqual(["A", "B", "A", undefined]);
    expect(loader.size).toBe(0);
  });

  it("splits what is more than a batch and runs at most two loads at once", async () => {
    const { loader, loads, nextLoad } = controlled({ maxBatch: 2 });
    const begun = nextLoad();
    const answers = Promise.all(["a", "b", "c", "d", "e"].map((key) => loader.get(key)));
    await begun;
    expect(loads.map((load) => load.keys)).toEqual([
      ["a", "b"],
      ["c", "d"],
    ]);
    const third = nextLoad();
    loads[0]?.answer({ a: "A" });
    await third;
    expect(loads[2]?.keys).toEqual(["e"]);
    loads[1]?.answer({});
    loads[2]?.answer({ e: "E" });
    expect(await answers).toEqual(["A", undefined, undefined, undefined, "E"]);
  });

  it("reads again what changed while it was read", async () => {
    const { loader, loads, nextLoad } = controlled();
    const begun = nextLoad();
    const answer = loader.get("a");
    await begun;
    loader.changed("a");
    const again = nextLoad();
    loads[0]?.answer({ a: "old" });
    await again;
    loads[1]?.answer({ a: "new" });
    expect(await answer).toBe("new");
  });

  it("fails all callers of a failed load and starts afresh for the next", async () => {
    const { loader, loads, nextLoad } = controlled();
    const begun = nextLoad();
    const answers = Promise.allSettled([loader.get("a"), loader.get("b")]);
    await begun;
    loads[0]?.fail(new Error("away"));
    expect((await answers).map((answer) => answer.status)).toEqual(["rejected", "rejected"]);
    const next = nextLoad();
    const retried = loader.get("a");
    await next;
    loads[1]?.answer({ a: "A" });
    expect(await retried).toBe("A");
  });

  it("refuses more than it may hold", async () => {
    const { loader, loads, nextLoad } = controlled({ maxPending: 1 });
    const begun = nextLoad();
    const held = loader.get("a");
    await expect(loader.get("b")).rejects.toMatchObject({ reason: "QUEUE_FULL" });
    await begun;
    loads[0]?.answer({ a: "A" });
    expect(await held).toBe("A");
  });

  it("lets a caller go that no longer wants to wait, and answers the others", async () => {
    const { loader, loads, nextLoad } = controlled();
    const begun = nextLoad();
    const impatient = new AbortController();
    const gone = loader.get("a", impatient.signal);
    const patient = loader.get("a");
    await begun;
    impatient.abort(new Error("gone"));
    await expect(gone).rejects.toThrow("gone");
    loads[0]?.answer({ a: "A" });
    expect(await patient).toBe("A");
  });
});
