import { randomUUID } from "node:crypto";
import type pg from "pg";
import type { HeartbeatRecord } from "../../src/device/state/heartbeat-record.ts";
import { HeavyReads } from "../../src/infra/database/heavy-reads.ts";
import { Pool } from "../../src/infra/database/pool.ts";
import { TimePartitions } from "../../src/infra/database/time-partitions.ts";
import { RollupJob } from "../../src/telemetry/rollup-job.ts";
import { ingestOn, record, silent } from "../heartbeat/heartbeat-fixture.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { createTestDatabase } from "../support/postgres.ts";

/** Where the clock of {@link startTelemetry} begins. */
export const noon = new Date("2026-06-10T12:00:00Z");

/** Somebody who stays until all is read. */
export const reader = { signal: new AbortController().signal };

/** Starts ingest, partitions and roll-ups of one replica on a database of its own. Nothing runs by itself. */
export async function startTelemetry(
  options: { readonly rowsPerShard?: number; readonly redoAfterMs?: number } = {},
) {
  const opened = new AsyncDisposableStack();
  const { url } = opened.use(await createTestDatabase());
  const clock = new FakeClock(noon.toISOString());
  const ingest = opened.use(await ingestOn(url, { clock }));
  const { pool } = ingest;
  const partitions = {
    "5m": new TimePartitions({
      pool: new Pool(pool),
      clock,
      logger: silent,
      table: "heartbeat_rollups_5m",
      daysEach: 1,
      retentionDays: 30,
    }),
    "1h": new TimePartitions({
      pool: new Pool(pool),
      clock,
      logger: silent,
      table: "heartbeat_rollups_1h",
      daysEach: 7,
      retentionDays: 400,
    }),
  };
  const job = () =>
    opened.use(
      new RollupJob({
        pool: new Pool(pool),
        raw: ingest.partitions,
        partitions,
        clock,
        logger: silent,
        redoAfterMs: 0,
        ...options,
      }),
    );
  return {
    url,
    clock,
    pool,
    ingest,
    partitions,
    reads: new HeavyReads(pool, 1),
    /** Makes a replica's job. */
    job,
    /** Stores heartbeats and returns them. */
    async store(records: readonly HeartbeatRecord[]): Promise<readonly HeartbeatRecord[]> {
      const [first] = records;
      if (first === undefined) return records;
      await ingest.ingest.submit({
        deviceId: first.deviceId,
        epoch: first.epoch,
        records,
        signal: new AbortController().signal,
      });
      return records;
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** A heartbeat that is received some seconds after noon. */
export function beat(
  deviceId: string,
  sequence: number,
  seconds: number,
  more: Partial<HeartbeatRecord> = {},
): HeartbeatRecord {
  return record(deviceId, sequence, { receivedAt: new Date(noon.getTime() + seconds * 1_000), ...more });
}

/** A row for the device itself, which what refers to it needs. */
export async function makeDevice(pool: pg.Pool, deviceType = "thermostat"): Promise<string> {
  const id = randomUUID();
  await pool.query(
    "INSERT INTO devices (id, serial_number, device_type, hardware_model) VALUES ($1, $2, $3, 'tx-200')",
    [id, `sn-${id}`, deviceType],
  );
  return id;
}
