import { execFile } from "node:child_process";
import { chown, mkdtemp, rmdir, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { DatabaseProxy } from "../support/database-proxy.ts";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase, DedicatedPostgres, query } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";
import { acknowledged, metric, startDevices, untilAcked, untilStatus } from "../support/streaming-device.ts";

const run = promisify(execFile);

const queueRows = 100;

const serviceSettings = {
  DEVICE_OTA_HEARTBEAT_QUEUE_ROWS: String(queueRows),
  DEVICE_OTA_HEARTBEAT_FLUSH_ROWS: String(queueRows),
  DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off",
  DEVICE_OTA_INGEST_STALL_SECONDS: "1",
};

it("nothing is acknowledged while PostgreSQL says that its disk is full, the queue stays bounded, and all goes on after", async () => {
  await using database = await createTestDatabase();
  await using proxy = await DatabaseProxy.start(database.url);
  await using service = await startTestService({ databaseUrl: proxy.url, settings: serviceSettings });
  await using cleanup = new AsyncDisposableStack();
  const history = new DeliveryHistory();
  const devices = await startDevices(service, 20, { history });
  for (const device of devices) cleanup.use(device);
  await untilAcked(devices, 5);

  let refused = 0;
  proxy.arm("before-commit", (flush) => {
    refused++;
    flush.fail("53100", "could not extend file: No space left on device");
  });
  await eventually(async () => {
    expect(await metric(service.httpUrl, "device_ota_ingest_queue_rows")).toBe(queueRows);
    expect(refused).toBeGreaterThan(2);
  });
  const full = acknowledged(devices);
  const refusedThen = refused;
  await eventually(() => expect(refused).toBeGreaterThan(refusedThen + 2));
  expect(acknowledged(devices)).toEqual(full);
  expect(await metric(service.httpUrl, "device_ota_ingest_queue_rows")).toBe(queueRows);
  // A row of its own can still be written: only what the service does tells that it cannot do its work.
  const health = await fetch(`${service.httpUrl}/health/ready`);
  expect([health.status, await health.json()]).toMatchObject([
    503,
    {
      checks: {
        database: "ok",
        ingest: expect.stringMatching(
          /^no heartbeat was stored for \d+ s, and 100 wait: the database has no room left on its disk \(since /,
        ),
      },
    },
  ]);

  proxy.disarm("before-commit");
  await untilAcked(devices, 20);
  await untilStatus(service.httpUrl, "/health/ready", 200);
  await cleanup.disposeAsync();
  expect(devices.map(({ streams, rejected }) => ({ streams, rejected }))).toEqual(
    devices.map(() => ({ streams: 1, rejected: [] })),
  );
  expect(await history.check(database.url)).toEqual([]);
});

it("a volume that is really full loses nothing that was acknowledged, and the service goes on when there is room", async ({
  skip,
}) => {
  const volume = await SmallVolume.mount();
  if (volume === undefined) return skip("this user may not mount a file system");
  await using small = volume;
  await using database = await DedicatedPostgres.start();
  await using service = await startTestService({ databaseUrl: database.url, settings: serviceSettings });
  await using cleanup = new AsyncDisposableStack();
  await moveHeartbeatsTo(database.url, small.folder);
  const history = new DeliveryHistory();
  const devices = await startDevices(service, 20, { history, batchSize: 50 });
  for (const device of devices) cleanup.use(device);
  await untilAcked(devices, 50);

  await eventually(async () => {
    expect(await metric(service.httpUrl, "device_ota_ingest_flush_failures_total")).toBeGreaterThan(2);
  });
  const full = acknowledged(devices);
  const failures = await metric(service.httpUrl, "device_ota_ingest_flush_failures_total");
  await eventually(async () => {
    expect(await metric(service.httpUrl, "device_ota_ingest_flush_failures_total")).toBeGreaterThan(failures);
  });
  expect(acknowledged(devices)).toEqual(full);

  await small.grow();
  await untilAcked(devices, 100);
  await cleanup.disposeAsync();
  expect(devices.map(({ streams, rejected }) => ({ streams, rejected }))).toEqual(
    devices.map(() => ({ streams: 1, rejected: [] })),
  );
  expect(await history.check(database.url)).toEqual([]);
});

/** A file system of one megabyte that can be made larger. */
class SmallVolume implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Undefined where it is not allowed. */
  static async mount(): Promise<SmallVolume | undefined> {
    const folder = await mkdtemp(join(tmpdir(), "device-ota-volume-"));
    try {
      await run("mount", ["-t", "tmpfs", "-o", "size=1m", "device-ota-test", folder]);
    } catch {
      await rmdir(folder);
      return undefined;
    }
    return new SmallVolume(folder);
  }

  async grow(): Promise<void> {
    await run("mount", ["-o", "remount,size=256m", this.folder]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run("umount", ["--lazy", this.folder]);
    await rmdir(this.folder);
  }
}

async function moveHeartbeatsTo(databaseUrl: string, folder: string): Promise<void> {
  // PostgreSQL runs as a user of its own when these tests run as root.
  const settings = await query<{ data: string }>(
    databaseUrl,
    "SELECT current_setting('data_directory') AS data",
  );
  const { uid, gid } = await stat(settings[0]?.data ?? "");
  await chown(folder, uid, gid);
  await query(databaseUrl, `CREATE TABLESPACE small LOCATION '${folder}'`);
  const rows = await query<{ name: string }>(
    databaseUrl,
    "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'device_heartbeats'::regclass",
  );
  for (const { name } of rows) await query(databaseUrl, `ALTER TABLE ${name} SET TABLESPACE small`);
}
