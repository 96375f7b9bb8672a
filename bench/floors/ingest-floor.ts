import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { entities } from "../../src/entities.ts";
import { copyStatement, HeartbeatCopyEncoder } from "../../src/heartbeat/copy-encoder.ts";
import { DeviceHeartbeatEntity } from "../../src/heartbeat/device-heartbeat.entity.ts";
import { Database } from "../../src/infra/database/database.ts";
import { createLogger } from "../../src/infra/logger.ts";
import type { Cost } from "../harness/cost.ts";
import { measuredArgument, serveMeasurements } from "../harness/measured-side.ts";
import { PostgresCpu } from "../harness/postgres-cpu.ts";
import { timed } from "../harness/timing.ts";
import { beatAt } from "../load/beats.ts";

/** Ways to bring heartbeats into the table with nothing before or after them. */
type IngestWay =
  /** The floor: one binary COPY and one narrow UPDATE of the devices' marks in a transaction a batch. */
  | "transaction"
  /** PostgreSQL alone: COPY from a file on its own disk, no marks. */
  | "copy-file"
  /** An INSERT a heartbeat, each its own transaction, no marks. */
  | "insert-rows"
  /** The ORM's INSERT of many rows, no marks. */
  | "insert-orm";

/** What to do. It runs at start and announces what that cost. */
export interface IngestWork {
  readonly url: string;
  readonly way: IngestWay;
  readonly deviceIds: readonly string[];
  readonly rows: number;
  readonly batchRows: number;
}

/** What the floor announces. */
export interface IngestFloorReady extends Cost {
  /** How long each batch took, in milliseconds, shortest first. */
  readonly batchMs: readonly number[];
}

const columns = `device_id, received_at, sequence, epoch, device_time, firmware_version, boot_id, uptime_ms,
  battery_percent, charging, cpu_percent, memory_percent, storage_free_bytes, temperature_celsius, latitude, longitude,
  accuracy_meters, altitude_meters, network, signal_dbm, carrier, security_counter, image_sha256, errors, metrics`;

const insertOne = `INSERT INTO device_heartbeats (${columns})
  VALUES (${columns
    .split(",")
    .map((_, index) => `$${index + 1}`)
    .join(", ")})`;

const { url, way, deviceIds, rows: total, batchRows } = measuredArgument<IngestWork>();
await using opened = new AsyncDisposableStack();
const client = new pg.Client({ connectionString: url });
await client.connect();
opened.defer(() => client.end());
const postgres = await PostgresCpu.of(client);
const encoder = new HeartbeatCopyEncoder();
const store = await openWay();
// Once unmeasured, so that the JIT and the database's caches are as warm as the service's.
await run(Math.min(total, 20 * batchRows), firstSequence(0));
const before = process.cpuUsage();
let batchMs: number[] = [];
let milliseconds = 0;
const postgresMicros = await postgres.during(async () => {
  milliseconds = await timed(async () => {
    batchMs = await run(total, firstSequence(1));
  });
});
const { user, system } = process.cpuUsage(before);
const ready: IngestFloorReady = {
  milliseconds,
  serviceMicros: user + system,
  postgresMicros,
  batchMs: batchMs.toSorted((a, b) => a - b),
};
const kept = opened.move();
serveMeasurements(ready, () => kept.disposeAsync());

async function run(rows: number, first: number): Promise<number[]> {
  const times: number[] = [];
  for (let start = 0; start < rows; start += batchRows) {
    const end = Math.min(start + batchRows, rows);
    times.push(await timed(() => store(start, end, first)));
  }
  return times;
}

/** Each round has numbers of its own, above all that the service was sent. */
function firstSequence(round: number): number {
  return 1_000_000_000 * (round + 1);
}

async function openWay(): Promise<(start: number, end: number, first: number) => Promise<unknown>> {
  switch (way) {
    case "transaction":
      return transaction;
    case "copy-file":
      return copyFiles(await folderOfPostgres());
    case "insert-rows":
      return insertRows;
    case "insert-orm": {
      const logger = createLogger({ level: "silent", pretty: false });
      const database = opened.use(await Database.connect({ url, logger, entities }));
      return (start, end, first) =>
        database.em().insertMany(DeviceHeartbeatEntity, entitiesOf(start, end, first));
    }
  }
}

async function transaction(start: number, end: number, first: number): Promise<void> {
  const marks = new Map<string, number>();
  encoder.begin();
  const receivedAt = new Date();
  for (let row = start; row < end; row++) {
    const record = recordOf(row, first, receivedAt);
    marks.set(record.deviceId, record.sequence);
    encoder.add(record);
  }
  await client.query("BEGIN");
  await client.query(
    `UPDATE device_ingest AS mark SET last_sequence = batch.sequence
       FROM unnest($1::uuid[], $2::bigint[]) AS batch (device_id, sequence)
      WHERE mark.device_id = batch.device_id`,
    [[...marks.keys()], [...marks.values()]],
  );
  await pipeline(Readable.from([encoder.finish()]), client.query(copyFrom(copyStatement)));
  await client.query("COMMIT");
}

/** Where PostgreSQL, which may run as another user, can read. */
async function folderOfPostgres(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "device-ota-bench-copy-"));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o755);
  return folder;
}

/** Writes all files beforehand: only PostgreSQL's own work is measured. */
async function copyFiles(folder: string) {
  const fileOf = (start: number, first: number): string => join(folder, `${first}-${start}.copy`);
  for (const first of [firstSequence(0), firstSequence(1)]) {
    for (let start = 0; start < total; start += batchRows)
      await writeFile(fileOf(start, first), copyText(start, Math.min(start + batchRows, total), first));
  }
  return (start: number, _end: number, first: number): Promise<unknown> =>
    client.query(`COPY device_heartbeats (${columns}) FROM '${fileOf(start, first)}'`);
}

async function insertRows(start: number, end: number, first: number): Promise<void> {
  for (let row = start; row < end; row++) {
    const values = copyText(row, row + 1, first)
      .trimEnd()
      .split("\t")
      .map((value) => (value === "\\N" ? null : value));
    await client.query({ name: "insert-heartbeat", text: insertOne, values });
  }
}

function copyText(start: number, end: number, first: number): string {
  let text = "";
  const receivedAt = new Date().toISOString();
  for (let row = start; row < end; row++) {
    const sequence = first + row + 1;
    const beat = beatAt(sequence);
    text +=
      `${deviceOf(row)}\t${receivedAt}\t${sequence}\t1\t${receivedAt}\t${beat.firmwareVersion}\t${beat.bootId}\t` +
      `${sequence * 1000}\t${beat.batteryPercent}\t${beat.charging ? "t" : "f"}\t${beat.cpuPercent}\t` +
      `${beat.memoryPercent}\t${beat.storageFreeBytes}\t${beat.temperatureCelsius}\t${beat.location.latitude}\t` +
      `${beat.location.longitude}\t${beat.location.accuracyMeters}\t\\N\tWIFI\t${beat.network.signalDbm}\t\\N\t0\t\\N\t\\N\t\\N\n`;
  }
  return text;
}

function entitiesOf(start: number, end: number, first: number) {
  const receivedAt = new Date();
  return Array.from({ length: end - start }, (_, index) => ({
    ...recordOf(start + index, first, receivedAt),
    altitudeMeters: null,
    carrier: null,
    imageSha256: null,
    errors: null,
    metrics: null,
    components: null,
    fixTime: null,
    networkTypeNumber: null,
  }));
}

function recordOf(row: number, first: number, receivedAt: Date) {
  const sequence = first + row + 1;
  const { location, network, storageFreeBytes, ...beat } = beatAt(sequence);
  return {
    ...beat,
    deviceId: deviceOf(row),
    receivedAt,
    sequence,
    epoch: 1,
    deviceTime: receivedAt,
    uptimeMs: sequence * 1_000,
    storageFreeBytes: Number(storageFreeBytes),
    latitude: location.latitude,
    longitude: location.longitude,
    accuracyMeters: location.accuracyMeters,
    networkType: "WIFI",
    signalDbm: network.signalDbm,
    securityCounter: 0,
    errors: [],
    metrics: undefined,
  } as const;
}

function deviceOf(row: number): string {
  return deviceIds[row % deviceIds.length] ?? "";
}
