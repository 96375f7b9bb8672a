import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { describe, expect, it } from "vitest";
import { migrateDown, migrateUp, pendingMigrations } from "../../src/infra/database/migrate.ts";
import { execute } from "../support/global-setup.ts";
import { createEmptyDatabase } from "../support/postgres.ts";
import { connect } from "./support.ts";

const all = [
  "0001-initial-schema",
  "0002-device-inventory",
  "0003-fleet-state",
  "0004-telemetry",
  "0005-error-groups",
  "0006-rollout-control",
  "0007-firmware-kinds",
  "0008-rollout-health",
  "0009-rollup-order",
  "0010-version-history",
  "0011-waiting-rollbacks",
  "0012-rollout-counters",
  "0013-words",
  "0014-versions",
  "0015-device-products",
  "0016-missing-devices",
  "0017-drift",
  "0018-foresight",
  "0020-models-rings-tries",
  "0021-metadata-and-archive",
  "0022-grouping",
  "0023-heartbeat-faults",
  "0025-recalls",
  "0026-expected-intervals",
  "0027-clock-verdicts",
  "0028-kept-facts",
  "0030-enrolment-consent",
  "0031-sign-in-and-audit",
  "0038-separate-roles",
  "0034-device-certificates",
  "0036-token-rights",
  "0035-oidc-people",
  "0039-audit-chain",
  "0032-serials-and-clones",
  "0037-firmware-trust",
  "0042-soundness",
  "0040-device-keys",
  "0033-rate-reports",
  "0041-tuf-repositories",
  "0043-alerts-and-events",
  "0044-webhooks",
  "0048-webhook-mails",
  "0049-crash-log-objects",
  "0046-token-rotation",
  "0050-ended-deliveries",
];
const replicas = 3;

describe("migrations", () => {
  it("bring an empty database in step with the entities", async () => {
    await using empty = await createEmptyDatabase();
    expect(await migrateUp(empty.url)).toEqual(all);

    // As in operation: daily partitions are there, and no concern of the entities.
    await makePartition(empty.url);
    await using database = await connect(empty.url);
    expect(await database.orm.schema.getUpdateSchemaSQL({ wrap: false })).toBe("");
  });

  it("leave a difference to be seen if an entity's column is not in the database", async () => {
    await using empty = await createEmptyDatabase();
    await migrateUp(empty.url);
    await execute(empty.url, "ALTER TABLE devices DROP COLUMN display_name");
    await using database = await connect(empty.url);
    expect(await database.orm.schema.getUpdateSchemaSQL({ wrap: false })).toContain('add "display_name"');
  });

  it("can be rolled back to nothing and applied again", async () => {
    await using empty = await createEmptyDatabase();
    await migrateUp(empty.url);
    await makePartition(empty.url);
    expect(await migrateDown(empty.url, { to: "nothing" })).toEqual(all.toReversed());
    expect(await tables(empty.url)).toEqual(["mikro_orm_migrations"]);
    expect(await migrateUp(empty.url)).toEqual(all);
    expect(await tables(empty.url)).toContain("device_updates");
  });

  it("keep the last of a device's tries when they go back to before there were several", async () => {
    await using empty = await createEmptyDatabase();
    await migrateUp(empty.url);
    const id = (n: number) => `00000000-0000-7000-8000-00000000000${n}`;
    const tries = [
      [1, "INSTALL", 1],
      [2, "INSTALL", 2],
      [3, "STEP", 1],
      [4, "ROLLBACK", 1],
    ].map(
      ([
        at,
        action,
        attempt,
      ]) => `('${id(9)}', '${id(Number(at))}', '${id(9)}', '${id(9)}', '${id(9)}', '${action}',
        'FAILED', '', '', '', now(), now(), now(), ${attempt})`,
    );
    // Without what they refer to.
    await execute(
      empty.url,
      `SET session_replication_role = replica; INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id,
         action, state, from_version, to_version, from_boot_id, offered_at, deadline_at, ended_at, attempt)
       VALUES ${tries.join(", ")}`,
    );
    let undone: string[];
    do undone = await migrateDown(empty.url);
    while (undone.length > 0 && !undone.includes("0006-rollout-control"));
    const kept = await query<{ id: string }>(empty.url, "SELECT id FROM device_updates ORDER BY id");
    expect(kept.map((row) => row.id)).toEqual([id(2), id(3), id(4)]);
    expect(await migrateUp(empty.url)).toContain("0006-rollout-control");
  });

  it("make the heartbeat table partitioned, without a default partition", async () => {
    await using empty = await createEmptyDatabase();
    await migrateUp(empty.url);
    const found = await query<{ key: string; partitions: string }>(
      empty.url,
      `SELECT pg_get_partkeydef('device_heartbeats'::regclass) AS key,
              (SELECT count(*) FROM pg_inherits WHERE inhparent = 'device_heartbeats'::regclass) AS partitions`,
    );
    expect(found).toEqual([{ key: "RANGE (received_at)", partitions: "0" }]);
  });

  it("leave room on the pages of rows that change all the time", async () => {
    await using empty = await createEmptyDatabase();
    await migrateUp(empty.url);
    const roomy = await query(
      empty.url,
      "SELECT relname FROM pg_class WHERE reloptions @> '{fillfactor=70}' ORDER BY 1",
    );
    expect(roomy).toEqual([
      { relname: "device_ingest" },
      { relname: "device_positions" },
      { relname: "device_state" },
    ]);
  });

  it("run once when three processes start at the same time", async () => {
    await using empty = await createEmptyDatabase();
    const service = join(import.meta.dirname, "../support/migrate-service.ts");
    const runs = await Promise.all(
      Array.from({ length: replicas }, () => promisify(execFile)(process.execPath, [service, empty.url])),
    );
    expect(runs.map(({ stdout }) => stdout).toSorted()).toEqual([JSON.stringify(all), "[]", "[]"]);
  });

  it("run once when one process starts several at the same time", async () => {
    await using empty = await createEmptyDatabase();
    const runs = await Promise.all(Array.from({ length: replicas }, () => migrateUp(empty.url)));
    expect(runs.flat()).toEqual(all);
  });

  it("are given up while another process holds the lock", async () => {
    await using empty = await createEmptyDatabase();
    const holder = new pg.Client({ connectionString: empty.url });
    await holder.connect();
    try {
      await holder.query("SELECT pg_advisory_lock(7236400911)");
      const giveUp = new AbortController();
      const run = migrateUp(empty.url, { signal: giveUp.signal });
      await expect
        .poll(() =>
          query(
            empty.url,
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()",
          ),
        )
        .toHaveLength(1);
      giveUp.abort(new Error("stopping"));
      await expect(run).rejects.toThrow("stopping");
      expect(await tables(empty.url)).toEqual([]);
    } finally {
      await holder.end();
    }
  });

  it("are named as pending until they have run, without a change to the database", async () => {
    await using empty = await createEmptyDatabase();
    await using database = await connect(empty.url);
    expect(await database.pendingMigrations()).toEqual(all);
    expect(await tables(empty.url)).toEqual([]);
    await migrateUp(empty.url);
    expect(await pendingMigrations(database.pool)).toEqual([]);
  });
});

function makePartition(url: string): Promise<void> {
  return execute(
    url,
    `CREATE TABLE device_heartbeats_20260101 PARTITION OF device_heartbeats
     FOR VALUES FROM ('2026-01-01') TO ('2026-01-02')`,
  );
}

async function tables(url: string): Promise<string[]> {
  const found = await query<{ name: string }>(
    url,
    "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')",
  );
  return found.map(({ name }) => name);
}

async function query<R extends pg.QueryResultRow>(url: string, sql: string): Promise<R[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<R>(sql)).rows;
  } finally {
    await client.end();
  }
}
