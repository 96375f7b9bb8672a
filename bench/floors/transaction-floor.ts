import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { measuredArgument, serveMeasurements } from "../harness/measured-side.ts";
import { beatAt } from "../load/beats.ts";

/**
 * The floor of ingest: one transaction a batch, of one COPY and one narrow UPDATE per device, of the same rows, with
 * nothing before or after it. It runs at start and announces the CPU time that it took.
 */
interface Work {
  readonly url: string;
  readonly deviceIds: readonly string[];
  readonly rows: number;
  readonly batchRows: number;
}

const copyHeartbeats = `COPY device_heartbeats (device_id, received_at, sequence, epoch, device_time, firmware_version,
  boot_id, uptime_ms, battery_percent, charging, cpu_percent, memory_percent, storage_free_bytes, temperature_celsius,
  latitude, longitude, accuracy_meters, altitude_meters, network_type, signal_dbm, carrier, security_counter,
  image_sha256, errors, metrics) FROM STDIN`;

const work = measuredArgument<Work>();
const client = new pg.Client({ connectionString: work.url });
await client.connect();
// Once unmeasured, so that the JIT and the database's caches are as warm as the service's.
await run(Math.min(work.rows, 20 * work.batchRows), 0);
const before = process.cpuUsage();
await run(work.rows, work.rows);
const { user, system } = process.cpuUsage(before);
serveMeasurements({ cpuMicros: user + system }, () => client.end());

async function run(rows: number, firstSequence: number): Promise<void> {
  for (let start = 0; start < rows; start += work.batchRows) {
    await transaction(start, Math.min(start + work.batchRows, rows), firstSequence);
  }
}

async function transaction(start: number, end: number, firstSequence: number): Promise<void> {
  const ids: string[] = [];
  const sequences: number[] = [];
  let text = "";
  const receivedAt = new Date().toISOString();
  for (let row = start; row < end; row++) {
    const deviceId = work.deviceIds[row % work.deviceIds.length] ?? "";
    const sequence = firstSequence + row + 1;
    ids.push(deviceId);
    sequences.push(sequence);
    const beat = beatAt(sequence);
    text +=
      `${deviceId}\t${receivedAt}\t${sequence}\t1\t${receivedAt}\t${beat.firmwareVersion}\t${beat.bootId}\t` +
      `${sequence * 1000}\t${beat.batteryPercent}\t${beat.charging ? "t" : "f"}\t${beat.cpuPercent}\t` +
      `${beat.memoryPercent}\t${beat.storageFreeBytes}\t${beat.temperatureCelsius}\t${beat.location.latitude}\t` +
      `${beat.location.longitude}\t${beat.location.accuracyMeters}\t\\N\t2\t${beat.network.signalDbm}\t\\N\t0\t\\N\t\\N\t\\N\n`;
  }
  await client.query("BEGIN");
  await client.query(
    `UPDATE device_ingest AS mark SET last_sequence = batch.sequence
       FROM unnest($1::uuid[], $2::bigint[]) AS batch (device_id, sequence)
      WHERE mark.device_id = batch.device_id`,
    [ids, sequences],
  );
  await pipeline(Readable.from([Buffer.from(text)]), client.query(copyFrom(copyHeartbeats)));
  await client.query("COMMIT");
}
