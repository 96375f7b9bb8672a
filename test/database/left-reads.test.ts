import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { entities } from "../../src/entities.ts";
import { cancelBy, cancellableQuery } from "../../src/infra/database/cancellable-query.ts";
import { Database } from "../../src/infra/database/database.ts";
import { sessionOf } from "../../src/infra/database/session.ts";
import { sql } from "../../src/infra/database/sql.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { forEverybody, readingFor } from "../../src/infra/reader.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase } from "../support/postgres.ts";

/** Statements of callers who leave before they are answered. */

const logger = createLogger({ level: "silent", pretty: false });
const cleanup = new AsyncDisposableStack();
let database: Database;
let url: string;

beforeAll(async () => {
  ({ url } = cleanup.use(await createTestDatabase()));
  database = cleanup.use(
    // A single connection each: the next statement comes on the one whose statement was cancelled.
    await Database.connect({ url, entities, logger, poolSizes: { orm: 1, admin: 1, heavyReads: 1 } }),
  );
});
afterAll(() => cleanup.disposeAsync());

const sleeping = sql`SELECT pg_sleep(60)`;

async function asleep(): Promise<number> {
  const { rows } = await database.ingestPool.query<{ count: number }>(
    "SELECT count(*)::int AS count FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'",
  );
  return rows[0]?.count ?? 0;
}

const ways = [
  ["outside the ORM", () => database.pool.query(sleeping)],
  ["of the ORM", () => sessionOf(database.em()).query(sleeping)],
  ["of long reads", () => database.heavyReads.for({ signal: leaving.signal }).query(sleeping)],
] as const;
let leaving = new AbortController();

describe("a statement of a caller who leaves", () => {
  it.each(ways)("%s ends in the server", async (_, read) => {
    leaving = new AbortController();
    const reading = readingFor({ signal: leaving.signal }, read);
    await eventually(async () => expect(await asleep()).toBe(1));
    leaving.abort(new Error("gone"));
    await expect(reading).rejects.toThrow("gone");
    expect(await asleep()).toBe(0);
  });

  it("is not begun if it has left already", async () => {
    const signal = AbortSignal.abort(new Error("gone"));
    await expect(readingFor({ signal }, () => database.pool.query(sleeping))).rejects.toThrow("gone");
  });

  it("goes on where others may wait for it, where it writes, and behind the end of the call", async () => {
    leaving = new AbortController();
    const ended = { begin: () => {} };
    const began = new Promise<void>((resolve) => {
      ended.begin = resolve;
    });
    let later: Promise<unknown> | undefined;
    const shared = await readingFor({ signal: leaving.signal }, async () => {
      later = began.then(() => database.pool.query(sql`SELECT 3 AS three`));
      const reading = forEverybody(() => database.pool.query(sql`SELECT 1 AS one FROM pg_sleep(0.2)`));
      leaving.abort(new Error("gone"));
      expect(await database.pool.run(sql`SELECT 2 AS two`)).toBe(1);
      return await reading;
    });
    expect(shared).toEqual([{ one: 1 }]);
    ended.begin();
    expect(await later).toEqual([{ three: 3 }]);
  });

  it("takes no other along that comes on the same connection, however late the server is told", async () => {
    await using pool = open();
    await using control = open();
    cancelBy(pool.pool, control.pool);
    const taken = await control.pool.connect();
    const caller = new AbortController();
    const reading = cancellableQuery(pool.pool, sql`SELECT pg_sleep(0.1)`, [], caller.signal);
    await eventually(async () => expect(await asleep()).toBe(1));
    caller.abort(new Error("gone"));
    await eventually(async () => expect(await asleep()).toBe(0));
    const next = pool.pool.query("SELECT 1 AS one FROM pg_sleep(0.1)");
    // The statement is over, and its answer long here.
    for (let trip = 0; trip < 10; trip++) await asleep();
    expect(pool.pool.waitingCount).toBe(1);
    taken.release();
    expect((await next).rows).toEqual([{ one: 1 }]);
    await expect(reading).resolves.toHaveLength(1);
  });

  it("loses its connection if the server cannot be told, and the pool takes another", async () => {
    await using pool = open();
    await using control = open({ connectionTimeoutMillis: 50 });
    cancelBy(pool.pool, control.pool);
    const taken = await control.pool.connect();
    const caller = new AbortController();
    const reading = cancellableQuery(pool.pool, sleeping, [], caller.signal);
    await eventually(async () => expect(await asleep()).toBe(1));
    caller.abort(new Error("gone"));
    await expect(reading).rejects.toThrow("gone");
    expect((await pool.pool.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    taken.release();
    await database.ingestPool.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'",
    );
  });
});

/** A pool of one connection. */
function open(settings: pg.PoolConfig = {}) {
  const pool = new pg.Pool({ connectionString: url, max: 1, ...settings });
  pool.on("error", () => undefined);
  return { pool, [Symbol.asyncDispose]: () => pool.end() };
}
