import type { BenchOptions } from "./harness/options.ts";
import type { BenchResult } from "./harness/result.ts";
import { timed } from "./harness/timing.ts";
import { sendAcked } from "./load/closed-loop.ts";
import { deviceIdOf, seedFleet } from "./load/fleet.ts";
import { openLoadStreams } from "./load/heartbeat-load.ts";
import { percentile, sendSteadily } from "./load/open-loop.ts";
import { ingestFloor, startProduct } from "./processes.ts";

const streamCount = 200;

/** Parts of the highest rate. */
const shares = [0.1, 0.5, 0.9] as const;

/**
 * From sending a heartbeat to the acknowledgement that it is durable, at parts of the highest rate that the service and the
 * load generator reach together, against one bare transaction of one heartbeat after the other.
 */
export async function heartbeatLatency({ quick }: Pick<BenchOptions, "quick">): Promise<BenchResult[]> {
  const beats = quick ? 250 : 1_000;
  const durationMs = quick ? 2_000 : 8_000;
  await using product = await startProduct({
    DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "10000000/minute",
    DEVICE_OTA_LOG_LEVEL: "warn",
  });
  const { databaseUrl, grpcAddress } = product.ready;
  await seedFleet(databaseUrl, streamCount);
  const bare = await ingestFloor({
    url: databaseUrl,
    way: "transaction",
    // Other devices than the load's, whose marks it would move.
    deviceIds: Array.from({ length: streamCount }, (_, index) => deviceIdOf(streamCount + index)),
    rows: quick ? 200 : 1_000,
    batchRows: 1,
  });

  const streams = await openLoadStreams(grpcAddress, { from: 0, to: streamCount, answers: "welcome" });
  await sendAcked(streams, 0, beats);
  const highest = (beats * streamCount * 1_000) / (await timed(() => sendAcked(streams, beats, 2 * beats)));
  const results: BenchResult[] = [];
  let from = 2 * beats;
  for (const share of shares) {
    const ratePerSecond = share * highest;
    const { latencyMs, rate, last } = await sendSteadily(streams, { ratePerSecond, durationMs, from });
    from = last;
    for (const part of [0.5, 0.99]) {
      results.push({
        bench: `ack-p${part * 100}-at-${share * 100}%`,
        value: percentile(latencyMs, part),
        unit: "ms",
        floor: percentile(bare.batchMs, part),
        target: "",
        note: `${Math.round(rate)} of ${Math.round(highest)} beats/s on ${streamCount} streams; against one bare transaction at a time`,
      });
    }
  }
  for (const { call } of streams) call.cancel();
  return results;
}
