import { create, toBinary } from "@bufbuild/protobuf";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import { StreamHeartbeatsRequestSchema } from "../gen/ota/v1/heartbeat_service_pb.js";
import type { MeasuredProcess } from "./harness/measured-process.ts";
import type { BenchResult } from "./harness/result.ts";
import { deviceIdOf, deviceTokenOf, seedFleet } from "./load/fleet.ts";
import { asIs, bearer, connect, inParallel } from "./load/raw-client.ts";
import { type ProductReady, startFloor, startProduct } from "./processes.ts";

/**
 * Memory of the server for each idle heartbeat stream, every one on a TCP connection of its own as devices have them,
 * against the same streams on bare grpc-js.
 */
export async function idleStreams(options: { quick: boolean }): Promise<BenchResult[]> {
  const streams = options.quick ? 500 : 5_000;
  await using product = await startProduct({ DEVICE_OTA_HEARTBEAT_INTERVAL_SECONDS: "3600" });
  await seedFleet(product.ready.databaseUrl, streams);
  const value = await bytesPerStream(product, streams, true);
  await using floor = await startFloor({});
  const bare = await bytesPerStream(floor, streams, false);
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

async function bytesPerStream(
  server: MeasuredProcess<{ grpcAddress: string }> | MeasuredProcess<ProductReady>,
  count: number,
  hello: boolean,
): Promise<number> {
  // A few streams first, so that what is loaded once is not counted against each.
  const warm = await openStreams(server.ready.grpcAddress, 0, 50, hello);
  const before = (await server.usage()).rssBytes;
  const streams = await openStreams(server.ready.grpcAddress, 50, count, hello);
  const after = (await server.usage()).rssBytes;
  for (const stream of [...warm, ...streams]) stream.cancel();
  return (after - before) / (count - 50);
}

/** Heartbeat streams of the devices from one index up to another, a TCP connection each, after their welcome if `hello`. */
export async function openStreams(address: string, from: number, to: number, hello: boolean) {
  const streams: ClientDuplexStream<Buffer, Buffer>[] = [];
  await inParallel(to - from, 64, async (offset) => {
    const index = from + offset;
    const stream = connect(address).makeBidiStreamRequest<Buffer, Buffer>(
      "/ota.v1.HeartbeatService/StreamHeartbeats",
      asIs,
      asIs,
      bearer(deviceTokenOf(index)),
    );
    stream.on("error", () => undefined);
    const opened = new Promise<void>((resolve, reject) => {
      stream.once(hello ? "data" : "metadata", () => resolve());
      stream.once("error", reject);
    });
    stream.write(helloOf(index));
    await opened;
    streams.push(stream);
  });
  return streams;
}

function helloOf(index: number): Buffer {
  const message = create(StreamHeartbeatsRequestSchema, {
    message: {
      case: "hello",
      value: { deviceId: deviceIdOf(index), epoch: 1, firmwareVersion: "1.0.0", bootId: "b" },
    },
  });
  return Buffer.from(toBinary(StreamHeartbeatsRequestSchema, message));
}
