import { availableParallelism, cpus } from "node:os";
import pg from "pg";
import { costOf } from "./harness/cost.ts";
import type { MeasuredProcess } from "./harness/measured-process.ts";
import { PostgresCpu } from "./harness/postgres-cpu.ts";
import { sizeOf } from "./harness/table-size.ts";
import { seedFleet } from "./load/fleet.ts";
import { dayMs, rollUp, seedHeartbeats } from "./load/heartbeat-history.ts";
import { openLoadStreams } from "./load/heartbeat-load.ts";
import { sendSteadily } from "./load/open-loop.ts";
import { bytesPerStream } from "./load/stream-memory.ts";
import { type ProductReady, startProduct } from "./processes.ts";

/**
 * Measures what a device and a heartbeat cost, from which `scripts/sizing.ts` computes what a fleet needs:
 * `npm run -s bench:sizing > docs/sizing.json`. CPU is that of the processes themselves, so a machine that others use shows in it less than
 * in what takes time.
 */

const streamCount = 1_000;

/** As 60,000 devices at 60 s: few enough for one process, and enough for flushes that are as large as in production. */
const beatsPerSecond = 1_000;

const measuredMs = 30_000;

/** Devices that are kept, beyond those that stream: their rows tell what a device takes. */
const keptDevices = 20_000;

/** Devices whose day is rolled up. */
const rolledUpDevices = 300;

interface Measured {
  readonly product: MeasuredProcess<ProductReady>;
  readonly database: pg.Client;
  readonly postgres: PostgresCpu;
}

const device = await measured(deviceCosts);
const heartbeat = await measured(heartbeatCosts);
const rollUps = { "60": await measured(rollUpCosts(1)), "300": await measured(rollUpCosts(5)) };
const on = {
  time: new Date().toISOString().slice(0, 10),
  processor: cpus()[0]?.model ?? "unknown",
  cores: availableParallelism(),
};
console.log(JSON.stringify({ on, device, heartbeat, rollUps }, undefined, 2));

async function measured<T>(work: (parts: Measured) => Promise<T>): Promise<T> {
  await using product = await startProduct({ DEVICE_OTA_HEARTBEAT_INTERVAL_SECONDS: "3600" });
  const database = new pg.Client({ connectionString: product.ready.databaseUrl });
  await database.connect();
  try {
    return await work({ product, database, postgres: await PostgresCpu.of(database) });
  } finally {
    await database.end();
  }
}

/** What a device takes while it only is there. */
async function deviceCosts({ product, database }: Measured) {
  const emptyBytes = await databaseBytes(database);
  const { rssBytes: serviceBytes } = await product.usage();
  await seedFleet(product.ready.databaseUrl, keptDevices);
  const bytes = (await databaseBytes(database)) - emptyBytes;
  const streamBytes = await bytesPerStream(product, streamCount, "welcome");
  return {
    serviceBytes: Math.round(serviceBytes),
    databaseBytes: Math.round(bytes / keptDevices),
    streamBytes: Math.round(streamBytes),
  };
}

/** What a heartbeat costs, with all that follows from it but the roll-ups. */
async function heartbeatCosts({ product, database, postgres }: Measured) {
  await seedFleet(product.ready.databaseUrl, streamCount);
  const streams = await openLoadStreams(product.ready.grpcAddress, {
    from: 0,
    to: streamCount,
    answers: "welcome",
  });
  // Unmeasured: what arrivals left to do is over then, and the code is compiled.
  const load = { ratePerSecond: beatsPerSecond };
  const { last } = await sendSteadily(streams, { ...load, durationMs: 10_000, from: 0 });
  const [tableBefore, walBefore] = [await sizeOf(database, "device_heartbeats"), await walBytes(database)];
  const { serviceMicros, postgresMicros } = await costOf({ product, postgres }, () =>
    sendSteadily(streams, { ...load, durationMs: measuredMs, from: last }),
  );
  const beats = (beatsPerSecond * measuredMs) / 1_000;
  const [tableAfter, walAfter] = [await sizeOf(database, "device_heartbeats"), await walBytes(database)];
  for (const { call } of streams) call.cancel();
  return {
    serviceMicros: round(serviceMicros / beats),
    postgresMicros: round(postgresMicros / beats),
    databaseBytes: Math.round((tableAfter - tableBefore) / beats),
    logBytes: Math.round((walAfter - walBefore) / beats),
  };
}

/** What a device's day costs to roll up, and what the roll-ups take, at an interval. */
function rollUpCosts(everyMinutes: number) {
  return async ({ product, database, postgres }: Measured) => {
    await seedFleet(product.ready.databaseUrl, rolledUpDevices);
    // Yesterday, so that all of it is due.
    const day = new Date(Math.floor(Date.now() / dayMs - 1) * dayMs);
    await seedHeartbeats(database, day, everyMinutes);
    const walBefore = await walBytes(database);
    const { postgresMicros } = await costOf({ product, postgres }, () => rollUp(database, day));
    const walAfter = await walBytes(database);
    return {
      postgresMicrosADay: Math.round(postgresMicros / rolledUpDevices),
      bytes5mADay: Math.round((await sizeOf(database, "heartbeat_rollups_5m")) / rolledUpDevices),
      bytes1hADay: Math.round((await sizeOf(database, "heartbeat_rollups_1h")) / rolledUpDevices),
      logBytesADay: Math.round((walAfter - walBefore) / rolledUpDevices),
    };
  };
}

async function databaseBytes(database: pg.Client): Promise<number> {
  return Number(await one(database, "SELECT pg_database_size(current_database())::text AS value"));
}

async function walBytes(database: pg.Client): Promise<number> {
  return Number(await one(database, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::text AS value"));
}

async function one(database: pg.Client, query: string): Promise<string | undefined> {
  const { rows } = await database.query<{ value: string }>(query);
  return rows[0]?.value;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
