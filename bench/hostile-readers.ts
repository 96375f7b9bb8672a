import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import pg from "pg";
import { TelemetryService } from "../gen/ota/v1/telemetry_service_pb.js";
import { ClientError } from "../src/client/client-error.ts";
import { RpcClient } from "../src/client/rpc-client.ts";
import type { BenchOptions } from "./harness/options.ts";
import type { BenchResult } from "./harness/result.ts";
import { seedFleet } from "./load/fleet.ts";
import { dayMs, rollUp, seedHeartbeats } from "./load/heartbeat-history.ts";
import { openLoadStreams } from "./load/heartbeat-load.ts";
import { percentile, sendSteadily } from "./load/open-loop.ts";
import { startProduct } from "./processes.ts";

const streamCount = 200;
const readerCount = 8;
const ratePerSecond = 500;

/** How long acknowledgements take while eight callers read all that there is, over and over, beside without them. */
export async function hostileReaders({ quick }: Pick<BenchOptions, "quick">): Promise<BenchResult[]> {
  const durationMs = quick ? 4_000 : 15_000;
  await using product = await startProduct({
    DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off",
    DEVICE_OTA_RATE_LIMIT_API: "off",
    DEVICE_OTA_LOG_LEVEL: "warn",
  });
  const { databaseUrl, grpcAddress, adminToken } = product.ready;
  await seedFleet(databaseUrl, streamCount);
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  const yesterday = new Date(Math.floor(Date.now() / dayMs - 1) * dayMs);
  await seedHeartbeats(database, yesterday);
  await rollUp(database, yesterday);
  await database.end();

  const streams = await openLoadStreams(grpcAddress, { from: 0, to: streamCount, answers: "welcome" });
  const warm = await sendSteadily(streams, { ratePerSecond, durationMs: 2_000, from: 0 });
  const idle = await sendSteadily(streams, { ratePerSecond, durationMs, from: warm.last });
  using client = new RpcClient({ address: grpcAddress, token: adminToken });
  const leaving = new AbortController();
  let answers = 0;
  const readers = Array.from({ length: readerCount }, async () => {
    while (!leaving.signal.aborted) {
      await readEverything(client);
      answers++;
    }
  });
  const busy = await sendSteadily(streams, { ratePerSecond, durationMs, from: idle.last });
  leaving.abort();
  await Promise.all(readers);
  for (const { call } of streams) call.cancel();
  return [0.5, 0.99].map((part) => ({
    bench: `ack-p${part * 100}-beside-readers`,
    value: percentile(busy.latencyMs, part),
    unit: "ms",
    floor: percentile(idle.latencyMs, part),
    target: "<= 2",
    note: `${ratePerSecond} beats/s while ${readerCount} callers got ${answers} answers, against without them`,
  }));
}

/** All metrics of all devices since ever, in as many points as there may be. */
async function readEverything(client: RpcClient): Promise<void> {
  try {
    await client.unary(TelemetryService.method.querySeries, {
      filter: "device_type = bench",
      metrics: ["battery_percent", "cpu_percent", "memory_percent", "temperature_celsius", "uptime_seconds"],
      startTime: timestampFromDate(new Date("0001-01-01T00:00:00Z")),
      maxPoints: 2_000,
    });
  } catch (error) {
    // Refused or given up: both are answers.
    if (!(error instanceof ClientError)) throw error;
  }
}
