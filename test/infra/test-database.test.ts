import pg from "pg";
import { describe, expect, inject, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase, DedicatedPostgres } from "../support/postgres.ts";

describe("databases for tests", () => {
  it("are separate, and gone with their last session when disposed", async () => {
    const first = await createTestDatabase();
    await using second = await createTestDatabase();
    const left = new pg.Client({ connectionString: first.url });
    left.on("error", () => undefined);
    await left.connect();
    await left.query("CREATE TABLE only_here (n int)");
    await expect(rows(second.url, "SELECT * FROM only_here")).rejects.toThrow(/does not exist/);

    await first[Symbol.asyncDispose]();

    const name = new URL(first.url).pathname.slice(1);
    const found = await rows(inject("databaseUrl"), `SELECT 1 FROM pg_database WHERE datname = '${name}'`);
    expect(found).toEqual([]);
    await left.end().catch(() => undefined);
  });

  it("can be on a server that goes away and comes back on the same URL", async () => {
    await using server = await DedicatedPostgres.start();
    await rows(server.url, "CREATE TABLE kept AS SELECT 1 AS n");

    await server.stop();
    await expect(rows(server.url, "SELECT n FROM kept")).rejects.toThrow(/ENOENT/);
    await server.startAgain();
    expect(await rows(server.url, "SELECT n FROM kept")).toEqual([{ n: 1 }]);

    await server.crash();
    await eventually(async () => expect(await rows(server.url, "SELECT n FROM kept")).toEqual([{ n: 1 }]));
  });
});

async function rows(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
