import pg from "pg";
import { expect, test } from "vitest";
import { migrateUp } from "../../src/infra/database/migrate.ts";
import { eventually } from "../support/eventually.ts";
import { DedicatedPostgres } from "../support/postgres.ts";
import { device, holdUp, ingestOn, records, send, startIngest, stored, stream } from "./heartbeat-fixture.ts";

test("a database that stops and starts under load loses nothing, and memory stays bounded", async () => {
  await using server = await DedicatedPostgres.start();
  await migrateUp(server.url);
  const maxRows = 200;
  await using fixture = await ingestOn(server.url, { limits: { maxRows } });
  const ids = Array.from({ length: 50 }, device);
  const acked = new Map<string, number>();
  const stopSending = new AbortController();
  let mostRows = 0;

  const senders = ids.map(async (id) => {
    for (let sequence = 1; !stopSending.signal.aborted; sequence++) {
      const { taken, result } = stream(fixture, { deviceId: id, records: records(id, [sequence]) });
      await taken;
      mostRows = Math.max(mostRows, fixture.ingest.rows);
      const settled = result.then(({ ackedThrough }) => acked.set(id, ackedThrough));
      if (sequence % 8 === 0) await settled;
    }
    await eventually(() => expect(acked.get(id)).toBeGreaterThan(0));
  });

  await eventually(() => expect(acked.size).toBe(ids.length));
  await server.stop();
  await eventually(() => expect(fixture.ingest.isStalled).toBe(true));
  await eventually(() => expect(fixture.ingest.rows).toBeGreaterThanOrEqual(maxRows));
  await expect(send(fixture, device(), [1])).rejects.toMatchObject({ retryAfterMs: expect.any(Number) });
  const before = new Map(acked);
  await server.startAgain();
  await eventually(() => {
    for (const id of ids) expect(acked.get(id)).toBeGreaterThan(before.get(id) as number);
  });
  expect(fixture.ingest.isStalled).toBe(false);
  stopSending.abort();
  await Promise.all(senders);

  expect(mostRows).toBeLessThanOrEqual(maxRows + 1);
  await fixture.ingest.close();
  for (const id of ids) {
    const found = await stored(fixture, id);
    expect(found.length).toBeGreaterThanOrEqual(acked.get(id) as number);
    expect(found).toEqual(Array.from({ length: found.length }, (_, index) => index + 1));
  }
});

test("connections that are cut in the middle of a transaction cost a retry", async () => {
  await using fixture = await startIngest();
  const id = device();
  await send(fixture, id, [1]);
  await using hold = await holdUp(fixture.url);
  const { result } = stream(fixture, { deviceId: id, records: records(id, [2]) });
  await eventually(async () => {
    const admin = new pg.Client({ connectionString: fixture.url });
    await admin.connect();
    try {
      const { rowCount } = await admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'device-ota ingest' AND wait_event_type = 'Lock'`,
      );
      expect(rowCount).toBe(1);
    } finally {
      await admin.end();
    }
  });
  await hold.release();
  expect(await result).toEqual({ ackedThrough: 2, rejected: [] });
  expect(await stored(fixture, id)).toEqual([1, 2]);
  expect(fixture.observed.map(({ sequence }) => sequence)).toEqual([1, 2]);
});

test("a caller that waits for an answer gets UNAVAILABLE; a stream's heartbeats stay", async () => {
  await using server = await DedicatedPostgres.start();
  await migrateUp(server.url);
  await using fixture = await ingestOn(server.url);
  const [polls, streams] = [device(), device()];
  await server.stop();
  const kept = stream(fixture, { deviceId: streams, records: records(streams, [1]) });
  await expect(send(fixture, polls, [1])).rejects.toMatchObject({
    code: "unavailable",
    reason: "DATABASE_UNAVAILABLE",
  });
  await server.startAgain();
  expect(await kept.result).toEqual({ ackedThrough: 1, rejected: [] });
  await eventually(async () => expect(await send(fixture, polls, [1])).toMatchObject({ ackedThrough: 1 }));
});

test("closing while the database is away gives up in time and acknowledges nothing", async () => {
  await using server = await DedicatedPostgres.start();
  await migrateUp(server.url);
  await using fixture = await ingestOn(server.url);
  await server.stop();
  const id = device();
  const { result } = stream(fixture, { deviceId: id, records: records(id, [1]) });
  await eventually(() => expect(fixture.ingest.isStalled).toBe(true));
  await fixture.ingest.close(100);
  await expect(result).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
});
