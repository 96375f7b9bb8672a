import { describe, expect, it } from "vitest";
import { Turns } from "./turns.ts";

const options = { atOnce: 2, maxWaiting: 3, what: "guests", retryAfterMs: 1_000 };

/** Work that ends when told, and notes when it begins. */
function guest(turns: Turns, name: string, begun: string[], signal?: AbortSignal) {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const done = turns.run(() => {
    begun.push(name);
    return promise;
  }, signal);
  done.catch(() => undefined);
  return { done, leave: resolve, fail: reject };
}

describe("turns", () => {
  it("are bounded, and go in the order of coming", async () => {
    const turns = new Turns(options);
    const begun: string[] = [];
    const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => guest(turns, name, begun));
    expect(begun).toEqual(["a", "b"]);
    b?.leave();
    await b?.done;
    await expect.poll(() => begun).toEqual(["a", "b", "c"]);
    a?.fail(new Error("ill"));
    await expect(a?.done).rejects.toThrow("ill");
    await expect.poll(() => begun).toEqual(["a", "b", "c", "d"]);
    c?.leave();
    d?.leave();
    await Promise.all([c?.done, d?.done]);
    expect(turns.waiting).toBe(0);
    await turns.run(() => Promise.resolve());
  });

  it("who comes when too many wait is told when to come back", async () => {
    const turns = new Turns(options);
    const guests = ["a", "b", "c", "d", "e"].map((name) => guest(turns, name, []));
    await expect(turns.run(() => Promise.resolve())).rejects.toMatchObject({
      reason: "QUEUE_FULL",
      retryAfterMs: expect.toSatisfy((ms: number) => ms >= 1_000 && ms <= 2_000),
    });
    for (const { leave } of guests) leave();
    await Promise.all(guests.map(({ done }) => done));
  });

  it("who goes away loses the turn, and nobody else does", async () => {
    const turns = new Turns(options);
    const begun: string[] = [];
    const away = new AbortController();
    const a = guest(turns, "a", begun);
    const b = guest(turns, "b", begun);
    const gone = guest(turns, "gone", begun, away.signal);
    const c = guest(turns, "c", begun);
    away.abort(new Error("gone"));
    await expect(gone.done).rejects.toThrow("gone");
    a.leave();
    b.leave();
    c.leave();
    await Promise.all([a.done, b.done, c.done]);
    expect(begun).toEqual(["a", "b", "c"]);
  });
});
