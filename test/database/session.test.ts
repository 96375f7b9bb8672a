import { setTimeout as delay } from "node:timers/promises";
import { raw } from "@mikro-orm/postgresql";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceEntity } from "../../src/device/state/device.entity.ts";
import type { Database } from "../../src/infra/database/database.ts";
import { RowArrays } from "../../src/infra/database/row-arrays.ts";
import type { Session } from "../../src/infra/database/session.ts";
import { sql } from "../../src/infra/database/sql.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { connect } from "./support.ts";

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await connect(testDatabase.url);
  await database.adminPool.query("CREATE TABLE notes (id int PRIMARY KEY, words text)");
});

afterAll(async () => {
  await database.close();
  await testDatabase[Symbol.asyncDispose]();
});

/** What quoting gets wrong first. */
const awkward = [
  "it's",
  "a\\b",
  "$1",
  "?",
  "??",
  "\\?",
  '"',
  "{a,b}",
  "'; DROP TABLE notes; --",
  "ü\u{1f600}\n",
  " x ",
  "NULL",
  "",
];

/** Every way to run a statement. */
const ways: readonly [string, (work: (session: Session) => Promise<void>) => Promise<void>][] = [
  ["the pool", (work) => work(database.pool)],
  ["a transaction of the pool", (work) => database.pool.transact(work)],
  ["a transaction of the ORM", (work) => database.transact((_, session) => work(session))],
];

describe.each(ways)("a session on %s", (_, open) => {
  it("takes and returns values of every kind alike", async () => {
    const at = new Date("2026-06-10T12:00:00.123Z");
    await open(async (session) => {
      const [row] = await session.query(
        sql`SELECT $1::timestamptz AS at, $2::bigint AS big, $3::text[] AS list, $4::jsonb AS json, $5::bytea AS bytes,
              $6::boolean AS flag, $7::text AS nothing, $8::float8 AS real, '{"a": 1}'::jsonb ? 'a' AS has,
              $1::timestamptz::date::text AS day`,
        [
          at,
          5_000_000_000,
          awkward,
          JSON.stringify({ words: awkward }),
          Buffer.from([0, 255]),
          true,
          null,
          1.5,
        ],
      );
      expect(row).toEqual({
        at,
        big: "5000000000",
        list: awkward,
        json: { words: awkward },
        bytes: Buffer.from([0, 255]),
        flag: true,
        nothing: null,
        real: 1.5,
        has: true,
        day: "2026-06-10",
      });
    });
  });

  it("counts the rows that a statement wrote", async () => {
    await open(async (session) => {
      await session.run(sql`DELETE FROM notes`);
      expect(
        await session.run(sql`INSERT INTO notes SELECT id, $1 FROM generate_series(1, 3) AS s (id)`, ["x"]),
      ).toBe(3);
      expect(await session.run(sql`UPDATE notes SET words = $1 WHERE id > $2`, ["y", 1])).toBe(2);
      expect(await session.run(sql`WITH gone AS (DELETE FROM notes RETURNING 1) SELECT * FROM gone`)).toBe(3);
    });
  });
});

describe("rows that travel as one array a column", () => {
  it("are the rows of a table, with texts as they are", async () => {
    const rows = [...awkward, undefined].map((words, id) => ({ id, words, at: new Date(id) }));
    const arrays = new RowArrays<(typeof rows)[number]>({
      id: ["int", ({ id }) => id],
      words: ["text", ({ words }) => words],
      json: ["jsonb", ({ words }) => (words === undefined ? undefined : JSON.stringify({ words }))],
      at: ["timestamptz", ({ at }) => at],
    });
    const read = await database.pool.query(
      sql`SELECT n.id, n.words, n.json, n.at FROM ${arrays.as(sql`n`)} ORDER BY n.id`,
      arrays.values(rows),
    );
    expect(read).toEqual(
      rows.map(({ words = null, ...row }) => ({ ...row, words, json: words === null ? null : { words } })),
    );
  });
});

describe("the ORM's own statements", () => {
  it("carry text, lists, times and JSON as they are", async () => {
    const rows = awkward.map((words, index) => ({
      id: `0199aaaa-0000-7000-8000-0000000001${String(index).padStart(2, "0")}`,
      serialNumber: `orm-${index}-${words}`,
      deviceType: words,
      hardwareModel: "l1",
      displayName: words,
      groups: awkward,
      metadata: { words },
      createdAt: new Date("2026-06-10T12:00:00.123Z"),
    }));
    await database.em().insertMany(DeviceEntity, rows);
    const em = database.em();
    const found = await em.find(DeviceEntity, { displayName: { $in: awkward } }, { orderBy: { id: "asc" } });
    expect(found.map(({ displayName }) => displayName)).toEqual(awkward);
    expect(found.map(({ groups }) => groups)).toEqual(rows.map(() => awkward));
    expect(found.map(({ metadata }) => metadata)).toEqual(rows.map(({ metadata }) => metadata));
    expect(found[0]?.createdAt).toEqual(new Date("2026-06-10T12:00:00.123Z"));
    // One statement for all of them, with a CASE for each column.
    for (const device of found) device.displayName = `${device.displayName}!`;
    for (const device of found) device.metadata = { again: device.displayName };
    await em.flush();
    const changed = await database
      .em()
      .find(DeviceEntity, { displayName: awkward.map((words) => `${words}!`) });
    expect(changed.map(({ metadata }) => metadata)).toEqual(
      expect.arrayContaining(awkward.map((words) => ({ again: `${words}!` }))),
    );
  });

  it("take raw pieces with values of their own, by place and by name", async () => {
    const em = database.em();
    expect(await em.execute("SELECT ?::text AS a, (?::text[])[2] AS b", ["?", "{x,y}"])).toEqual([
      { a: "?", b: "y" },
    ]);
    expect(await em.execute("SELECT :a::text AS a", { a: "it's" })).toEqual([{ a: "it's" }]);
    expect(await em.execute("SELECT 1 AS one WHERE ? IN (?)", [2, [1, 2, 3]])).toEqual([{ one: 1 }]);
    expect(await em.count(DeviceEntity, { [raw("lower(display_name)")]: raw("lower(?)", ["IT'S!"]) })).toBe(
      1,
    );
  });
});

describe("a transaction", () => {
  it("is rolled back as a whole when its work fails, and its connection is used again", async () => {
    const pids = new Set<number>();
    for (let i = 0; i < 20; i++) {
      const work = database.pool.transact(async (session) => {
        const [row] = await session.query<{ pid: number }>(sql`SELECT pg_backend_pid() AS pid`);
        pids.add(row?.pid ?? 0);
        await session.run(sql`INSERT INTO notes VALUES (100, 'gone')`);
        throw new Error("no");
      });
      await expect(work).rejects.toThrow("no");
    }
    expect(pids.size).toBe(1);
    expect(await database.pool.run(sql`SELECT FROM notes WHERE id = 100`)).toBe(0);
  });

  it("does not give back a connection that was cut", async () => {
    const cut = database.pool.transact((session) =>
      session.run(sql`SELECT pg_terminate_backend(pg_backend_pid())`),
    );
    await expect(cut).rejects.toThrow();
    expect(await database.pool.run(sql`SELECT 1`)).toBe(1);
  });

  it("has its settings to itself", async () => {
    const readSql = sql`SELECT current_setting('enable_seqscan') AS value`;
    const within = await database.pool.transact((session) => session.query(readSql), {
      settings: sql`SET LOCAL enable_seqscan = off`,
    });
    expect(within).toEqual([{ value: "off" }]);
    expect(await database.pool.query(readSql)).toEqual([{ value: "on" }]);
  });

  it("waits for its lock, of the pool's or the ORM's; one that comes in turn does not", async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const { promise: held, resolve: hold } = Promise.withResolvers<void>();
    const holder = database.pool.transact(
      async () => {
        hold();
        await released;
      },
      { lock: "partitions" },
    );
    await held;
    const order: string[] = [];
    const waiters = [
      database.pool.transact(async () => void order.push("pool"), { lock: "partitions" }),
      database.transact(async () => void order.push("orm"), { lock: "partitions" }),
    ];
    expect(await database.pool.inTurn("partitions", () => Promise.reject(new Error("not its turn")))).toBe(
      false,
    );
    await delay(50);
    expect(order).toEqual([]);
    release();
    await Promise.all([holder, ...waiters]);
    expect(order.toSorted()).toEqual(["orm", "pool"]);
    let runs = 0;
    expect(await database.pool.inTurn("partitions", async () => void runs++)).toBe(true);
    expect(runs).toBe(1);
  });

  it("runs again as often as it may when it was picked to give way", async () => {
    for (const transact of [
      (work: () => Promise<number>) => database.pool.transact(work, { retry: { attempts: 3 } }),
      (work: () => Promise<number>) => database.transact(work, { retry: { attempts: 3 } }),
    ]) {
      let runs = 0;
      const result = await transact(async () => {
        runs += 1;
        if (runs < 3) throw Object.assign(new Error("deadlock"), { code: "40P01" });
        return runs;
      });
      expect(result).toBe(3);
    }
  });
});
