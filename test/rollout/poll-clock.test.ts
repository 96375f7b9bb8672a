import pg from "pg";
import { expect, it } from "vitest";
import { sessionOn } from "../../src/infra/database/session.ts";
import { readClock } from "../../src/rollout/proof/open-update-rows.ts";
import { createTestDatabase } from "../support/postgres.ts";

it("goes back to the begin of the oldest transaction under way, and little further than now without one", async () => {
  await using cleanup = new AsyncDisposableStack();
  const { url } = cleanup.use(await createTestDatabase());
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  cleanup.defer(() => pool.end());
  const before = await timeOf(pool, "SELECT clock_timestamp() - interval '2 seconds' AS at");
  expect(new Date(await readClock(sessionOn(pool))).getTime()).toBeGreaterThan(before);

  const writer = await pool.connect();
  await writer.query("BEGIN");
  const began = await timeOf(writer, "SELECT now() AS at");
  await writer.query("SELECT pg_sleep(1.5)");
  expect(new Date(await readClock(sessionOn(pool))).getTime()).toBeLessThan(began);
  await writer.query("COMMIT");
  writer.release();
  expect(new Date(await readClock(sessionOn(pool))).getTime()).toBeGreaterThan(began);
});

async function timeOf(database: Pick<pg.ClientBase, "query">, sql: string): Promise<number> {
  const { rows } = (await database.query(sql)) as { rows: { at: Date }[] };
  return rows[0]?.at.getTime() ?? 0;
}
