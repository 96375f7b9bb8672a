import type pg from "pg";
import { describe, expect, it } from "vitest";
import { type OccurrenceRecord, occurrenceOf, occurrencesSql } from "../../src/crash/error-group-rows.ts";
import { HeartbeatHistory } from "../../src/heartbeat/heartbeat-history.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { migrateDown, migrateUp } from "../../src/infra/database/migrate.ts";
import { sql } from "../../src/infra/database/sql.ts";
import { execute } from "../support/global-setup.ts";
import { createEmptyDatabase } from "../support/postgres.ts";
import { connect } from "./support.ts";

const devices = [1, 2, 3].map((n) => `00000000-0000-7000-8000-00000000000${n}`) as [string, string, string];
const at = "2026-01-01T12:00:00Z";

describe("words in place of the contract's numbers", () => {
  it("are made of what a release from before wrote, and read of what it leaves", async () => {
    await using empty = await createEmptyDatabase();
    await migrateUp(empty.url);
    let undone: string[];
    do undone = await migrateDown(empty.url);
    while (!undone.includes("0013-words"));
    await execute(empty.url, writtenBefore);

    await migrateUp(empty.url);
    await using database = await connect(empty.url);
    const { adminPool } = database;
    expect(await networks(adminPool)).toEqual(["WIFI", null, "SATELLITE"]);
    expect(await counted(adminPool)).toEqual([
      { name: "SATELLITE", count: 1 },
      { name: "WIFI", count: 1 },
    ]);
    expect((await adminPool.query("SELECT severity FROM error_groups")).rows).toEqual([
      { severity: "CRITICAL" },
    ]);

    const history = new HeartbeatHistory(database.pool, systemClock);
    const [heartbeat] = await history.list({ deviceId: devices[0] }, { limit: 1 });
    expect(heartbeat).toMatchObject({ networkType: "CELLULAR", errors: [{ severity: "CRITICAL" }] });
    const rows = await database.pool.query<OccurrenceRecord>(occurrencesSql(sql`true`, sql`1`));
    expect(rows.map(occurrenceOf)).toMatchObject([{ report: { severity: "CRITICAL" } }]);
  });

  it("become numbers again when the release goes back", async () => {
    await using empty = await createEmptyDatabase();
    await migrateUp(empty.url);
    await execute(
      empty.url,
      `${device(devices[0])};
       INSERT INTO device_state (device_id, last_seen_at, epoch, last_sequence, firmware_version, boot_id, uptime_ms,
         network, security_counter) VALUES ('${devices[0]}', '${at}', 1, 1, '1.0.0', 'b', 1, 'LPWAN', 0);
       ${group("'ERROR'")}`,
    );
    let undone: string[];
    do undone = await migrateDown(empty.url);
    while (!undone.includes("0013-words"));
    await using database = await connect(empty.url);
    const { adminPool } = database;
    expect((await adminPool.query("SELECT network_type FROM device_state")).rows).toEqual([
      { network_type: 4 },
    ]);
    expect((await adminPool.query("SELECT severity FROM error_groups")).rows).toEqual([{ severity: 3 }]);
    const counts = await adminPool.query(
      "SELECT name, number, count FROM fleet_counts WHERE dimension = 'network_type'",
    );
    expect(counts.rows).toEqual([{ name: null, number: "4", count: "1" }]);
  });
});

function device(id: string): string {
  return `INSERT INTO devices (id, serial_number, device_type, hardware_model) VALUES ('${id}', '${id}', 't', 'm')`;
}

function group(severity: string): string {
  return `INSERT INTO error_groups (id, fingerprint, fingerprint_version, state, title, code, severity, fatal, stack_kind,
      occurrence_count, device_count, first_seen_at, last_seen_at, first_seen_version, last_seen_version)
    VALUES ('${devices[0]}', 'f', 1, 'open', 't', 'E', ${severity}, true, 'none', 1, 1, '${at}', '${at}', '1.0.0', '1.0.0')`;
}

const writtenBefore = `
  CREATE TABLE error_occurrences_20260101 PARTITION OF error_occurrences FOR VALUES FROM ('2026-01-01') TO ('2026-01-02');
  CREATE TABLE device_heartbeats_20260101 PARTITION OF device_heartbeats FOR VALUES FROM ('2026-01-01') TO ('2026-01-02');
  ${devices.map(device).join("; ")};
  INSERT INTO device_state (device_id, last_seen_at, epoch, last_sequence, firmware_version, boot_id, uptime_ms,
    network_type, security_counter)
  VALUES ('${devices[0]}', '${at}', 1, 1, '1.0.0', 'b', 1, 2, 0), ('${devices[1]}', '${at}', 1, 1, '1.0.0', 'b', 1, 0, 0),
    ('${devices[2]}', '${at}', 1, 1, '1.0.0', 'b', 1, 5, 0);
  INSERT INTO device_heartbeats (device_id, received_at, sequence, epoch, firmware_version, boot_id, uptime_ms, network_type,
    security_counter, errors)
  VALUES ('${devices[0]}', '${at}', 1, 1, '1.0.0', 'b', 1, 3, 0,
    '[{"code": "E", "severity": 4, "message": "m", "stack": "", "fatal": true}]');
  ${group("4")};
  INSERT INTO error_occurrences (id, group_id, device_id, received_at, sequence, position)
  VALUES ('${devices[1]}', '${devices[0]}', '${devices[0]}', '${at}', 1, 0)`;

async function networks(pool: pg.Pool): Promise<(string | null)[]> {
  const { rows } = await pool.query<{ network: string | null }>(
    "SELECT network FROM device_state ORDER BY device_id",
  );
  return rows.map(({ network }) => network);
}

/** The counters, which must be what a recount finds. */
async function counted(pool: pg.Pool): Promise<unknown[]> {
  const { rows } = await pool.query(
    `SELECT name, sum(count)::int AS count FROM fleet_counts WHERE dimension = 'network_type' GROUP BY name ORDER BY name`,
  );
  const recount = await pool.query(
    `SELECT name, count::int AS count FROM fleet_recount() WHERE dimension = 'network_type' ORDER BY name`,
  );
  expect(recount.rows).toEqual(rows);
  return rows;
}
