import pg from "pg";
import { describe, expect, it } from "vitest";
import { FleetCounters } from "../../src/device/fleet/fleet-counters.ts";
import { RetiredPresence } from "../../src/device/fleet/retired-presence.ts";
import { PositionWriter, RetiredDevicePositions } from "../../src/telemetry/position-writer.ts";
import { silent } from "../access/access-fixture.ts";
import { eventually } from "../support/eventually.ts";
import { heartbeatOf, joinDevices, noChange, startDevices } from "./device-fixture.ts";

const heartbeatIntervalMs = 60_000;
const never = new AbortController().signal;

/** Some statements' worth of each writer. */
const fleet = 1_200;

describe("first heartbeats at two replicas, while operators tag and retire the same devices", () => {
  it("stop nobody, and all counts agree afterwards", async () => {
    await using one = await startDevices((clock) => [
      new RetiredDevicePositions(),
      new RetiredPresence({ clock, heartbeatIntervalMs }),
    ]);
    await using two = await joinDevices(one.access.url);
    const { adminPool: pool } = one.access.database;
    const { rows } = await pool.query<{ id: string }>(
      `INSERT INTO devices (id, serial_number, device_type, hardware_model)
       SELECT gen_random_uuid(), 'SN-' || n, 'thermostat', 'tx-200' FROM generate_series(1, $1::int) n RETURNING id`,
      [fleet],
    );
    const ids = rows.map(({ id }) => id);
    // As in a fleet that has been there for a while: plans are made for its size.
    await pool.query("ANALYZE devices");
    await using positions = new PositionWriter({
      pool: one.access.database.pool,
      clock: one.access.clock,
      logger: silent,
    });
    await using elsewhere = new PositionWriter({
      pool: two.access.database.pool,
      clock: two.access.clock,
      logger: silent,
    });
    const shuffled = ids.toSorted(() => Math.random() - 0.5);
    const place = { latitude: 52.5, longitude: 13.4 };
    const beats = (some: readonly string[], sequence: number) =>
      some.map((id) => ({ ...heartbeatOf(id, sequence), ...place }));

    const sorted = ids.toSorted();
    // Whoever locks in the order of ids stands behind the lowest one; whoever does not holds others by then.
    const holder = new pg.Client({ connectionString: one.access.url });
    await holder.connect();
    await holder.query("BEGIN");
    await holder.query("SELECT FROM devices WHERE id = $1 FOR UPDATE", [sorted[0]]);
    one.directory.observe(
      beats(
        shuffled.filter((id) => sorted.indexOf(id) % 4 !== 3),
        1,
      ),
    );
    two.directory.observe(
      beats(
        shuffled.filter((id) => sorted.indexOf(id) % 4 !== 1),
        2,
      ),
    );
    positions.observe(beats(shuffled, 1));
    elsewhere.observe(beats(shuffled.toReversed(), 2));
    const tag = (deviceIds: readonly string[], name: string) => ({ ...noChange, deviceIds, addTags: [name] });
    const tagging = [
      one.batches.apply(tag(shuffled, "a"), never),
      two.batches.apply(tag(shuffled.toReversed(), "b"), never),
    ];
    await untilWaiting(pool, 2);
    const writing = [one.states.flush(), two.states.flush(), positions.flush(), elsewhere.flush()];
    await untilWaiting(pool, 5);
    const retiring = one.batches.apply(
      { ...noChange, deviceIds: shuffled.slice(0, 100), retire: true },
      never,
    );
    await holder.end();
    expect(await retiring).toEqual({ matched: 100, changed: 100 });
    await Promise.all([...tagging, ...writing]);
    await Promise.all([one.states.flush(), two.states.flush()]);
    expect([one.states.size, two.states.size]).toEqual([0, 0]);

    const counters = new FleetCounters({ ...one.access, logger: silent, heartbeatIntervalMs });
    expect(await counters.recount()).toBe(0);
    const seen = await pool.query(
      `SELECT count(*)::int AS known, (count(*) FILTER (WHERE in_service))::int AS in_service FROM device_state`,
    );
    expect(seen.rows).toEqual([{ known: fleet, in_service: fleet - 100 }]);
    await pool.query("SELECT pg_stat_force_next_flush()");
    const { rows: conflicts } = await pool.query(
      "SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()",
    );
    expect(conflicts).toEqual([{ deadlocks: 0 }]);
  });
});

async function untilWaiting(pool: pg.Pool, sessions: number): Promise<void> {
  await eventually(async () => {
    const { rows } = await pool.query<{ waiting: number }>(
      "SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    );
    expect(rows[0]?.waiting).toBeGreaterThanOrEqual(sessions);
  });
}
