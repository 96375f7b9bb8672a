import { randomUUID } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { HeartbeatPartitions } from "../../src/heartbeat/partitions.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { Pool } from "../../src/infra/database/pool.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { DeliveryHistory } from "./delivery-history.ts";
import { createTestDatabase, type TestDatabase } from "./postgres.ts";

let database: TestDatabase;
let pool: pg.Pool;
let device: string;
let history: DeliveryHistory;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = new pg.Pool({ connectionString: database.url });
  const logger = createLogger({ level: "silent", pretty: false });
  await new HeartbeatPartitions({
    pool: new Pool(pool),
    clock: systemClock,
    logger,
    retentionDays: 30,
  }).maintain();
});

afterAll(async () => {
  await pool.end();
  await database[Symbol.asyncDispose]();
});

beforeEach(() => {
  device = randomUUID();
  history = new DeliveryHistory();
  history.welcomed(device, 1, 0);
  for (const sequence of [1, 2, 3]) history.sent(device, 1, sequence);
});

describe("the history of deliveries", () => {
  it("finds nothing wrong where what was acknowledged is stored once", async () => {
    history.acked(device, 1, 2);
    await store([1, 2]);
    expect(await problems()).toEqual([]);
    expect(history.ackedCount).toBe(2);
  });

  it("finds nothing wrong with a heartbeat that is stored and not acknowledged yet", async () => {
    history.acked(device, 1, 2);
    await store([1, 2, 3]);
    expect(await problems()).toEqual([]);
  });

  it("finds a heartbeat that was acknowledged and is not stored", async () => {
    history.acked(device, 1, 3);
    await store([1, 3]);
    expect(await problems()).toEqual(["2 is acknowledged and lost"]);
  });

  it("finds a heartbeat that is stored twice", async () => {
    history.acked(device, 1, 2);
    await store([1, 2, 2]);
    expect(await problems()).toEqual(["2 is stored twice"]);
  });

  it("finds a heartbeat that is stored although it was refused or never sent", async () => {
    history.acked(device, 1, 3, [2]);
    await store([1, 2, 3, 4]);
    expect(await problems()).toEqual(["2 is stored and was refused", "4 is stored and was never sent"]);
  });

  it("does not miss what was refused", async () => {
    history.acked(device, 1, 3, [2]);
    await store([1, 3]);
    expect(await problems()).toEqual([]);
  });

  it("finds a mark that is below what is stored", async () => {
    history.acked(device, 1, 2);
    await store([1, 2], 1);
    expect(await problems()).toEqual(["2 is stored above the mark 1: a resend doubles it"]);
  });

  it("finds acknowledgements that go back, or of what was never sent", async () => {
    history.acked(device, 1, 2);
    history.acked(device, 1, 1);
    history.acked(device, 1, 9);
    await store([1, 2, 3]);
    expect(await problems()).toEqual(["ack of 1 after 2", "ack of 9, which was never sent"]);
  });

  it("finds a welcome that forgets, but not one that forgets what was refused", async () => {
    history.acked(device, 1, 3, [3]);
    history.welcomed(device, 1, 2);
    history.welcomed(device, 1, 1);
    await store([1, 2]);
    expect(await problems()).toEqual(["welcome forgets 2, which was acknowledged"]);
  });
});

async function problems(): Promise<string[]> {
  const prefix = `device ${device} epoch 1: `;
  return (await history.check(database.url)).map((text) =>
    text.slice(text.startsWith(prefix) ? prefix.length : 0),
  );
}

/** Writes heartbeats as no service would, each at a time of its own. */
async function store(sequences: readonly number[], mark = Math.max(...sequences)): Promise<void> {
  await pool.query("INSERT INTO device_ingest (device_id, epoch, last_sequence) VALUES ($1, 1, $2)", [
    device,
    mark,
  ]);
  await pool.query(
    `INSERT INTO device_heartbeats (device_id, received_at, sequence, epoch, firmware_version, boot_id, uptime_ms, security_counter)
     SELECT $1, now() + position * interval '1 ms', sequence, 1, '1.0.0', 'boot', 0, 0
     FROM unnest($2::bigint[]) WITH ORDINALITY AS t (sequence, position)`,
    [device, sequences],
  );
}
