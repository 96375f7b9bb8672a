import { randomUUID } from "node:crypto";
import pg from "pg";
import { readConfig } from "../../src/config.ts";
import type { DurableHeartbeat, HeartbeatRecord } from "../../src/device/state/heartbeat-record.ts";
import { HeartbeatFaults } from "../../src/heartbeat/heartbeat-faults.ts";
import { HeartbeatIngest, type IngestLimits } from "../../src/heartbeat/heartbeat-ingest.ts";
import type { IngestResult, Submission } from "../../src/heartbeat/heartbeat-queue.ts";
import { HeartbeatPartitions } from "../../src/heartbeat/partitions.ts";
import { type Clock, systemClock } from "../../src/infra/clock.ts";
import { connectionSettings } from "../../src/infra/database/connection-settings.ts";
import { Pool } from "../../src/infra/database/pool.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { Metrics } from "../../src/infra/metrics.ts";
import { createTestDatabase } from "../support/postgres.ts";

export const silent = createLogger({ level: "silent", pretty: false });

const { heartbeat } = readConfig({});

/** Those of a service whose operator set none. */
const defaultLimits: IngestLimits = {
  maxRows: heartbeat.queueRows,
  maxBytes: heartbeat.queueBytes,
  flushRows: heartbeat.flushRows,
  lingerMs: heartbeat.flushMs,
};

/** The ingest of one replica, and what it reported. */
export interface IngestFixture extends AsyncDisposable {
  readonly url: string;
  readonly pool: pg.Pool;
  readonly partitions: HeartbeatPartitions;
  readonly ingest: HeartbeatIngest;
  readonly faults: HeartbeatFaults;
  readonly metrics: Metrics;
  /** What the observers were told, in order. */
  readonly observed: DurableHeartbeat[];
}

/** How to make an {@link IngestFixture}. */
export interface IngestOptions {
  readonly clock?: Clock;
  readonly limits?: Partial<IngestLimits>;
  /** Leaves the partitions to be made by the ingest. */
  readonly withoutPartitions?: true;
}

/** An ingest on a database of its own. */
export async function startIngest(options: IngestOptions = {}): Promise<IngestFixture> {
  const database = await createTestDatabase();
  const fixture = await ingestOn(database.url, options);
  return {
    ...fixture,
    async [Symbol.asyncDispose]() {
      await fixture[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** An ingest on a migrated database. */
export async function ingestOn(url: string, options: IngestOptions = {}): Promise<IngestFixture> {
  const clock = options.clock ?? systemClock;
  const pool = new pg.Pool({ ...connectionSettings(url, "ingest"), max: 4 });
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  const partitions = new HeartbeatPartitions({
    pool: new Pool(pool),
    clock,
    logger: silent,
    retentionDays: 30,
  });
  if (options.withoutPartitions !== true) await partitions.maintain();
  const metrics = new Metrics({ processMetrics: false });
  const observed: DurableHeartbeat[] = [];
  const faults = new HeartbeatFaults({ metrics: metrics.ingest, log: { add: () => undefined }, clock });
  const ingest = new HeartbeatIngest({
    pool,
    partitions,
    observers: [{ observe: (records) => observed.push(...records) }],
    metrics: metrics.ingest,
    faults,
    clock,
    logger: silent,
    limits: { ...defaultLimits, ...options.limits },
  });
  return {
    url,
    pool,
    partitions,
    ingest,
    faults,
    metrics,
    observed,
    async [Symbol.asyncDispose]() {
      await ingest.close(1_000);
      await partitions.close();
      await pool.end();
    },
  };
}

/** A heartbeat with all that is required. */
export function record(
  deviceId: string,
  sequence: number,
  more: Partial<HeartbeatRecord> = {},
): HeartbeatRecord {
  return {
    deviceId,
    epoch: 1,
    sequence,
    receivedAt: new Date(),
    firmwareVersion: "1.0.0",
    bootId: "boot-1",
    uptimeMs: 1_000,
    securityCounter: 1,
    errors: [],
    metrics: undefined,
    ...more,
  };
}

/** Heartbeats of one device with these sequences. */
export function records(
  deviceId: string,
  sequences: readonly number[],
  more: Partial<HeartbeatRecord> = {},
): HeartbeatRecord[] {
  return sequences.map((sequence) => record(deviceId, sequence, more));
}

export function device(): string {
  return randomUUID();
}

/** Submits as a single call does. */
export function send(
  { ingest }: Pick<IngestFixture, "ingest">,
  deviceId: string,
  sequences: readonly number[],
  { followsEpoch = false, ...more }: Partial<HeartbeatRecord> & { readonly followsEpoch?: boolean } = {},
): Promise<IngestResult> {
  return ingest.submit({
    deviceId,
    epoch: more.epoch ?? 1,
    followsEpoch,
    records: records(deviceId, sequences, more),
    signal: new AbortController().signal,
  });
}

/** Submits as a stream does. `taken` resolves when the queue has it, `result` when it is settled. */
export function stream(
  { ingest }: Pick<IngestFixture, "ingest">,
  submission: Pick<Submission, "deviceId" | "records"> & Partial<Submission>,
  signal = new AbortController().signal,
): { taken: Promise<void>; result: Promise<IngestResult> } {
  const { promise, resolve, reject } = Promise.withResolvers<IngestResult>();
  promise.catch(() => undefined);
  const taken = ingest.enqueue(
    { epoch: 1, generation: 0, failFast: false, committed: resolve, failed: reject, ...submission },
    () => signal,
  );
  return { taken: taken ?? Promise.resolve(), result: promise };
}

/** The stored sequences of a device's epoch, lowest first, with repeats if there were any. */
export async function stored(
  { pool }: Pick<IngestFixture, "pool">,
  deviceId: string,
  epoch = 1,
): Promise<number[]> {
  const { rows } = await pool.query<{ sequence: string }>(
    "SELECT sequence FROM device_heartbeats WHERE device_id = $1 AND epoch = $2 ORDER BY sequence",
    [deviceId, epoch],
  );
  return rows.map(({ sequence }) => Number(sequence));
}

/** Keeps all flushes from getting on until released. */
export async function holdUp(url: string): Promise<AsyncDisposable & { release(): Promise<void> }> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  await client.query("BEGIN; LOCK TABLE device_ingest IN ACCESS EXCLUSIVE MODE");
  const release = (): Promise<void> => client.end();
  return { release, [Symbol.asyncDispose]: release };
}
