import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceEntity } from "../../src/device/state/device.entity.ts";
import { defaultPoolSizes } from "../../src/infra/database/connection-settings.ts";
import type { Database } from "../../src/infra/database/database.ts";
import { asDatabaseError, isRetryable, uniqueViolation, withRetry } from "../../src/infra/database/errors.ts";
import { databaseName, migrateUp } from "../../src/infra/database/migrate.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase, DedicatedPostgres, type TestDatabase } from "../support/postgres.ts";
import { connect, recordChannel } from "./support.ts";

const unavailable = { code: "unavailable", reason: "DATABASE_UNAVAILABLE", retryAfterMs: 1_000 };

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await connect(testDatabase.url);
});

afterAll(async () => {
  await database.close();
  await testDatabase[Symbol.asyncDispose]();
});

describe("connections", () => {
  it("have time-outs and a name on every pool", async () => {
    const settings = `SELECT current_setting('statement_timeout') AS statement,
      current_setting('lock_timeout') AS lock,
      current_setting('idle_in_transaction_session_timeout') AS idle,
      (SELECT string_agg(reset_val, ' ' ORDER BY name) FROM pg_settings WHERE name LIKE 'tcp_keepalives_%') AS probes,
      current_setting('application_name') AS name`;
    const limits = { statement: "10s", lock: "5s", idle: "15s", probes: "4 10 5" };
    const ingest = await database.ingestPool.query(settings);
    const admin = await database.adminPool.query(settings);
    expect(ingest.rows).toEqual([{ ...limits, name: "device-ota ingest" }]);
    expect(admin.rows).toEqual([{ ...limits, name: "device-ota admin" }]);
    expect(await database.em().execute(settings)).toEqual([{ ...limits, name: "device-ota orm" }]);
  });

  it("of ingest are free while all others are taken", async () => {
    const taken: pg.PoolClient[] = [];
    try {
      for (let i = 0; i < (database.adminPool.options.max ?? 0); i++) {
        taken.push(await database.adminPool.connect());
      }
      const { rows } = await database.ingestPool.query("SELECT 1 AS one");
      expect(rows).toEqual([{ one: 1 }]);
    } finally {
      for (const client of taken) client.release();
    }
  });

  it("of the ORM are replaced when they break within a transaction, or as it begins", async () => {
    await using alone = await createTestDatabase();
    await using own = await connect(alone.url);
    const cut = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'device-ota orm'`;
    // More often than the pool has connections: none may be lost to it.
    for (let i = 0; i <= defaultPoolSizes.orm; i++) {
      await expect(own.em().transactional((em) => em.execute(cut))).rejects.toThrow();
      await own.em().execute("SELECT 1");
      // Its end is on its way when the pool hands it out.
      const cutting = own.adminPool.query(cut);
      await Promise.allSettled([own.em().transactional((em) => em.execute("SELECT 1")), cutting]);
    }
    expect(await eventually(() => own.em().count(DeviceEntity, {}))).toBe(0);
  });

  it("answer that the database is unavailable when nothing listens at the address", async () => {
    await expect(connect("postgresql://nobody@127.0.0.1:1/nothing")).rejects.toMatchObject(unavailable);
  });

  it("are refused to a ping whose time is up", async () => {
    await expect(database.ping(AbortSignal.abort())).rejects.toMatchObject(unavailable);
    await expect(database.ping(AbortSignal.timeout(10_000))).resolves.toBeUndefined();
  });

  it("are closed once however often close is called, with nothing left on the server", async () => {
    const own = await connect(testDatabase.url);
    recordChannel(own, "any");
    await own.em().count(DeviceEntity, {});
    await Promise.all([own.close(), own.close()]);
    await own.close();
    await expect(own.ping(AbortSignal.timeout(1_000))).rejects.toMatchObject(unavailable);
  });

  it("are named by URLs of TCP servers and of sockets", () => {
    expect(databaseName("postgresql://user:pw@127.0.0.1:5432/fleet?sslmode=disable")).toBe("fleet");
    expect(databaseName("postgresql://user@/fleet?host=/var/run/postgresql")).toBe("fleet");
  });
});

describe("notifications", () => {
  it("reach every listener, equal ones once", async () => {
    await using other = await connect(testDatabase.url);
    const here = recordChannel(database, "rollouts");
    const there = recordChannel(other, "rollouts");
    const elsewhere = recordChannel(other, "devices");
    await eventually(() => expect([here.listening, there.listening, elsewhere.listening]).toEqual([1, 1, 1]));

    for (const payload of ["a", "b", "a", "a"]) database.notify("rollouts", payload);
    await eventually(() => expect(there.payloads).toEqual(["a", "b"]));
    await eventually(() => expect(here.payloads).toEqual(["a", "b"]));
    expect(elsewhere.payloads).toEqual([]);
    here.stop();
    other.notify("rollouts", "c");
    await eventually(() => expect(there.payloads).toEqual(["a", "b", "c"]));
    expect(here.payloads).toEqual(["a", "b"]);
  });

  it("are heard again after the listening connection was ended, and the break is told", async () => {
    const channel = recordChannel(database, "breaks");
    await eventually(() => expect(channel.listening).toBe(1));
    await database.adminPool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'device-ota listen'`,
    );
    await eventually(() => expect(channel.listening).toBe(2));
    database.notify("breaks", "after");
    await eventually(() => expect(channel.payloads).toEqual(["after"]));
  });

  it("that wait are sent when the database is closed", async () => {
    const channel = recordChannel(database, "last words");
    await eventually(() => expect(channel.listening).toBe(1));
    const other = await connect(testDatabase.url);
    other.notify("last words", "bye");
    await other.close();
    await eventually(() => expect(channel.payloads).toEqual(["bye"]));
  });
});

describe("a server that goes away", () => {
  it("fails calls as unavailable, and is used again by the same pools when it is back", async () => {
    await using server = await DedicatedPostgres.start();
    await migrateUp(server.url);
    await using own = await connect(server.url);
    const channel = recordChannel(own, "rollouts");
    await eventually(() => expect(channel.listening).toBe(1));
    const held = await own.ingestPool.connect();
    await held.query("BEGIN");

    await server.stop();
    await expect(own.ping(AbortSignal.timeout(5_000))).rejects.toMatchObject(unavailable);
    const failures = await Promise.all([
      own.em().count(DeviceEntity, {}).catch(asDatabaseError),
      own.ingestPool.query("SELECT 1").catch(asDatabaseError),
      held.query("COMMIT").catch(asDatabaseError),
    ]);
    held.release(true);
    for (const failure of failures) expect(failure).toMatchObject(unavailable);

    await server.startAgain();
    await eventually(() => own.ping(AbortSignal.timeout(1_000)));
    expect(await own.em().count(DeviceEntity, {})).toBe(0);
    await eventually(() => expect(channel.listening).toBe(2));
    own.notify("rollouts", "back");
    await eventually(() => expect(channel.payloads).toEqual(["back"]));
  });
});

describe("failures of statements", () => {
  it("are outages when the server ran out of patience or of rights to write", async () => {
    await expect(
      fail("SELECT set_config('statement_timeout', '5', true)", "SELECT pg_sleep(5)"),
    ).resolves.toMatchObject(unavailable);
    await expect(fail("SET TRANSACTION READ ONLY", "CREATE TABLE t (a int)")).resolves.toMatchObject(
      unavailable,
    );
  });

  it("are not outages when the statement is at fault", async () => {
    await expect(fail("SELECT 1", "SELECT 1 / 0")).resolves.toBeUndefined();
  });

  it("name the constraint that a duplicate violates", async () => {
    const name = await database.adminPool
      .query(
        "INSERT INTO signing_keys (id, name, algorithm, public_key_pem) VALUES ('a','','',''), ('a','','','')",
      )
      .catch(uniqueViolation);
    expect(name).toBe("signing_keys_pkey");
  });

  it("run the transaction again when two stopped each other", async () => {
    await database.adminPool.query(
      "INSERT INTO device_ingest (device_id) VALUES ('00000000-0000-0000-0000-000000000001'), ('00000000-0000-0000-0000-000000000002') ON CONFLICT (device_id) DO UPDATE SET last_sequence = 0",
    );
    const bothHoldOne = Promise.withResolvers<void>();
    let holding = 0;
    const retried: unknown[] = [];
    const crossing = (first: number, second: number): Promise<void> =>
      withRetry(
        async (attempt) => {
          await transaction(async (client) => {
            await touch(client, first);
            holding += 1;
            if (holding === 2) bothHoldOne.resolve();
            if (attempt === 1) await bothHoldOne.promise;
            await touch(client, second);
          }).catch((error: unknown) => {
            retried.push(isRetryable(error));
            throw error;
          });
        },
        { attempts: 10 },
      );
    await Promise.all([crossing(1, 2), crossing(2, 1)]);
    // Whoever was stopped may come back before the other one has taken what it left: then they stop each other once more.
    expect(new Set(retried)).toEqual(new Set([true]));
    const { rows } = await database.adminPool.query<{ moved: number }>(
      "SELECT sum(last_sequence)::int AS moved FROM device_ingest WHERE device_id < '00000000-0000-0000-0000-000000000003'",
    );
    expect(rows).toEqual([{ moved: 4 }]);
  });
});

async function touch(client: pg.PoolClient, device: number): Promise<void> {
  await client.query("UPDATE device_ingest SET last_sequence = last_sequence + 1 WHERE device_id = $1", [
    `00000000-0000-0000-0000-00000000000${device}`,
  ]);
}

/** What the second statement's failure is, as the service sees it. */
async function fail(first: string, second: string): Promise<unknown> {
  return transaction(async (client) => {
    await client.query(first);
    await client.query(second);
  }).then(() => "no failure", asDatabaseError);
}

async function transaction(work: (client: pg.PoolClient) => Promise<void>): Promise<void> {
  const client = await database.adminPool.connect();
  try {
    await client.query("BEGIN");
    await work(client);
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}
