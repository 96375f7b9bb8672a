import type { BenchResult } from "./harness/result.ts";
import { seedFleet } from "./load/fleet.ts";
import { bytesPerStream } from "./load/stream-memory.ts";
import { startFloor, startProduct } from "./processes.ts";

/**
 * Memory of the server for each idle heartbeat stream, every one on a TCP connection of its own as devices have them,
 * against the same streams on bare grpc-js.
 */
export async function idleStreams(options: { quick: boolean }): Promise<BenchResult[]> {
  const streams = options.quick ? 500 : 5_000;
  await using product = await startProduct({ DEVICE_OTA_HEARTBEAT_INTERVAL_SECONDS: "3600" });
  await seedFleet(product.ready.databaseUrl, streams);
  const value = await bytesPerStream(product, streams, "welcome");
  await using floor = await startFloor({});
  const bare = await bytesPerStream(floor, streams, "headers");
  return [
    {
      bench: "idle-streams",
      value: value / 1024,
      unit: "KiB a stream",
      floor: bare / 1024,
      target: "<= 1.3",
      note: `${streams} streams, a TCP connection each, after hello and welcome`,
    },
  ];
}
