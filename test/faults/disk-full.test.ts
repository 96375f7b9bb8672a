import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chown, mkdtemp, rmdir, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { FirmwareState } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { DatabaseProxy } from "../support/database-proxy.ts";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase, DedicatedPostgres, query } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";
import {
  acknowledged,
  createFirmware,
  metric,
  startDevices,
  untilAcked,
  untilStatus,
  uploadMessages,
} from "../support/streaming-device.ts";
import { ServiceProcess } from "./service-process.ts";

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

it.skipIf(process.platform !== "linux")(
  "an upload that the disk has no room for is refused with words and goes on where it was; heartbeats do not notice",
  async () => {
    await using database = await createTestDatabase({ partitioned: true });
    await using service = await ServiceProcess.start(database.url);
    await using cleanup = new AsyncDisposableStack();
    const history = new DeliveryHistory();
    const devices = await startDevices(service, 5, { history });
    const running = cleanup.use(new AsyncDisposableStack());
    for (const device of devices) running.use(device);
    const rpc = cleanup.use(new RpcClient({ address: service.grpcAddress, token: service.adminToken }));
    const content = randomBytes(1_000_000);
    const { id, sha256 } = await createFirmware(rpc, { product: "app", version: "1.1.0", content });
    const uploadFrom = (start: number) =>
      rpc.clientStream(
        FirmwareService.method.uploadFirmware,
        Readable.from(uploadMessages(id, content, start)),
      );
    const committed = async () =>
      Number((await rpc.unary(FirmwareService.method.getFirmwareUpload, { id })).committedBytes);

    // What writes more is told so, as by a disk that is full; a file system of its own takes rights that not everybody has.
    await limitFiles(service.pid, 300_000);
    expect(await refusal(uploadFrom(0))).toMatchObject({ reason: "STORAGE_FULL" });
    const before = await committed();
    expect(before).toBeGreaterThan(0);
    expect(await refusal(uploadFrom(before))).toMatchObject({ reason: "STORAGE_FULL" });
    await untilAcked(devices, 5);
    await untilStatus(service.httpUrl, "/health/live", 200);

    await limitFiles(service.pid, "unlimited");
    expect(await committed()).toBeGreaterThanOrEqual(before);
    const { firmware } = await uploadFrom(await committed());
    expect(firmware).toMatchObject({ state: FirmwareState.UPLOADED, sha256 });
    await running.disposeAsync();
    expect(devices.map(({ streams }) => streams)).toEqual(devices.map(() => 1));
    expect(await history.check(database.url)).toEqual([]);
  },
  120_000,
);

/** Sets how many bytes a file may have that a process writes. */
async function limitFiles(pid: number, bytes: number | "unlimited"): Promise<void> {
  await run("prlimit", ["--pid", String(pid), `--fsize=${bytes}:`]);
}

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
