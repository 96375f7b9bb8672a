import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HeavyReads, heavyReadSettings } from "../../src/infra/database/heavy-reads.ts";
import { sql } from "../../src/infra/database/sql.ts";
import { createTestDatabase } from "../support/postgres.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

/** Reads that are two at a time; `settings` change those of their connections. */
function open(settings: pg.PoolConfig = {}) {
  const pool = new pg.Pool({ ...heavyReadSettings(database.url, 2), ...settings });
  return { reads: new HeavyReads(pool, 2), [Symbol.asyncDispose]: () => pool.end() };
}

const sleeping = sql`SELECT pg_sleep(60)`;

describe("heavy reads", () => {
  it("are two at a time; a bounded number waits, and further ones are refused", async () => {
    await using opened = open();
    const { reads } = opened;
    const leaving = new AbortController();
    const asked = Array.from({ length: 2 + 64 }, () => reads.for({ signal: leaving.signal }).query(sleeping));
    const done = Promise.allSettled(asked);
    await expect.poll(() => reads.waiting).toBe(64);
    await expect(
      reads.for({ signal: new AbortController().signal }).query(sql`SELECT 1`),
    ).rejects.toMatchObject({
      code: "resource_exhausted",
      reason: "QUEUE_FULL",
      retryAfterMs: expect.any(Number),
    });
    // Who leaves takes the statements that run along, and those that wait are never begun.
    leaving.abort(new Error("gone"));
    for (const result of await done) expect(result).toMatchObject({ reason: new Error("gone") });
    const rows = await reads.for({ signal: new AbortController().signal }).query(sql`SELECT 1 AS one`);
    expect(rows).toEqual([{ one: 1 }]);
  });

  it("are refused to a reader who reads already and may do so once only", async () => {
    await using opened = open();
    const { reads } = opened;
    const leaving = new AbortController();
    const first = reads.for({ signal: leaving.signal, alone: "a" }).query(sleeping);
    first.catch(() => undefined);
    const { signal } = new AbortController();
    const again = reads.for({ signal, alone: "a" });
    await expect(again.query(sql`SELECT 1`)).rejects.toMatchObject({ reason: "QUEUE_FULL" });
    await reads.for({ signal, alone: "b" }).query(sql`SELECT 1`);
    leaving.abort(new Error("gone"));
    await expect(first).rejects.toThrow("gone");
    await again.query(sql`SELECT 1`);
  });

  it("that take too long are given up, with words", async () => {
    await using opened = open({ statement_timeout: 50 });
    const reading = opened.reads.for({ signal: new AbortController().signal }).query(sleeping);
    await expect(reading).rejects.toMatchObject({
      code: "deadline_exceeded",
      message: expect.stringContaining("shorter time"),
    });
  });

  it("use one core of the server each", async () => {
    await using opened = open();
    const reading = opened.reads.for({ signal: new AbortController().signal });
    expect(await reading.query(sql`SHOW max_parallel_workers_per_gather`)).toEqual([
      { max_parallel_workers_per_gather: "0" },
    ]);
  });
});
