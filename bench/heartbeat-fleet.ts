import type { MeasuredProcess } from "./harness/measured-process.ts";
import type { BenchOptions } from "./harness/options.ts";
import type { BenchResult } from "./harness/result.ts";
import { deviceIdOf, seedFleet } from "./load/fleet.ts";
import { type LoadStream, openLoadStreams } from "./load/heartbeat-load.ts";
import { percentile, sendSteadily } from "./load/open-loop.ts";
import { ingestFloor, startFloor, startProduct } from "./processes.ts";

/** Connected devices: DEVICE_OTA_BENCH_STREAMS overrides it. Each takes a file descriptor here and one in the service. */
const defaultStreams = 10_000;

/** The part of them that beats, once a second. */
const activeShare = 0.1;

/**
 * Many connected devices of which a tenth beats once a second: the service's memory for each stream, how long an
 * acknowledgement takes, and how late the service's event loop is.
 */
export async function heartbeatFleet({ quick }: Pick<BenchOptions, "quick">): Promise<BenchResult[]> {
  const count = Number(process.env["DEVICE_OTA_BENCH_STREAMS"] ?? (quick ? 1_000 : defaultStreams));
  const active = Math.round(count * activeShare);
  const durationMs = quick ? 5_000 : 20_000;
  await using product = await startProduct({ DEVICE_OTA_LOG_LEVEL: "warn" });
  const { databaseUrl } = product.ready;
  await seedFleet(databaseUrl, count + 1);
  const bare = await ingestFloor({
    url: databaseUrl,
    way: "transaction",
    deviceIds: [deviceIdOf(count)],
    rows: quick ? 200 : 500,
    batchRows: 1,
  });
  const opened = await measureStreams(product, count, "welcome");
  const beating = opened.streams.slice(0, active);
  const steady = { ratePerSecond: active, durationMs };
  // Unmeasured: what ten thousand arrivals left to do, and what the questions about memory cost, is over then.
  const { last } = await sendSteadily(beating, { ...steady, durationMs: settleMs, from: 0 });
  await product.usage();
  const { latencyMs, rate } = await sendSteadily(beating, { ...steady, from: last });
  const { loopDelayP99Ms } = await product.usage();
  for (const { call } of opened.streams) call.cancel();

  await using floor = await startFloor({});
  // A tenth is enough to know the memory of each.
  const empty = await measureStreams(floor, Math.max(active, 500), "headers");
  for (const { call } of empty.streams) call.cancel();
  const { loopDelayP99Ms: idleDelayMs } = await floor.usage();
  const note = `${count} streams, a TCP connection each; ${active} of them at a beat a second, ${Math.round(rate)} beats/s`;
  const ack = (share: number): BenchResult => ({
    bench: `fleet-ack-p${share * 100}`,
    value: percentile(latencyMs, share),
    unit: "ms",
    floor: percentile(bare.batchMs, share),
    target: "",
    note: `${note}; against one bare transaction at a time`,
  });
  return [
    {
      bench: "fleet-memory",
      value: opened.bytesEach / 1024,
      unit: "KiB a stream",
      floor: empty.bytesEach / 1024,
      target: "<= 1.3",
      note: `${note}; before they beat, against bare grpc-js streams`,
    },
    ack(0.5),
    ack(0.99),
    {
      bench: "fleet-loop-delay",
      value: loopDelayP99Ms,
      unit: "ms, p99",
      floor: idleDelayMs,
      target: "",
      note: `${note}; against the bare server while its streams open`,
    },
  ];
}

/** Opens streams and says what memory each takes. */
async function measureStreams(
  server: MeasuredProcess<{ readonly grpcAddress: string }>,
  count: number,
  answers: "welcome" | "headers",
): Promise<{ readonly streams: readonly LoadStream[]; readonly bytesEach: number }> {
  const { grpcAddress } = server.ready;
  // A few streams first, so that what is loaded once is not counted against each.
  const warm = await openLoadStreams(grpcAddress, { from: 0, to: firstStreams, answers });
  const before = (await server.usage()).rssBytes;
  const streams = await openLoadStreams(grpcAddress, { from: firstStreams, to: count, answers });
  const after = (await server.usage()).rssBytes;
  return { streams: [...warm, ...streams], bytesEach: (after - before) / (count - firstStreams) };
}

const firstStreams = 50;

const settleMs = 5_000;
