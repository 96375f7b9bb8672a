import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import {
  StreamHeartbeatsRequestSchema,
  StreamHeartbeatsResponseSchema,
} from "../gen/ota/v1/heartbeat_service_pb.js";
import { MeasuredProcess } from "./harness/measured-process.ts";
import type { BenchResult } from "./harness/result.ts";
import { beatAt } from "./load/beats.ts";
import { deviceIdOf, deviceTokenOf, seedFleet } from "./load/fleet.ts";
import { asIs, bearer, connect, inParallel } from "./load/raw-client.ts";
import { startFloor, startProduct } from "./processes.ts";

/** How many heartbeats a stream has on the way before it waits for acknowledgements. */
const windowBeats = 256;

const streamCount = 50;

/** Rows in a batch of the bare transaction: what the service reaches under the same load. */
const floorBatchRows = 1_000;

/**
 * CPU of the server for each durable heartbeat, one a message, through the whole pipeline to a committed row, against
 * a bare grpc-js stream that only decodes the same messages plus the bare transaction of the same rows.
 */
export async function heartbeatStream(options: { quick: boolean }): Promise<BenchResult[]> {
  const beats = options.quick ? 1_000 : 6_000;
  const total = beats * streamCount;
  await using product = await startProduct({
    DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "10000000/minute",
    DEVICE_OTA_LOG_LEVEL: "warn",
  });
  await seedFleet(product.ready.databaseUrl, streamCount);

  const streams = await openStreams(product.ready.grpcAddress, true);
  await sendBeats(streams, 0, Math.ceil(beats / 10), true);
  const started = performance.now();
  const micros = await product.cpuDuring(() =>
    sendBeats(streams, Math.ceil(beats / 10), Math.ceil(beats / 10) + beats, true),
  );
  const seconds = (performance.now() - started) / 1000;
  for (const stream of streams) stream.call.cancel();

  await using floor = await startFloor({});
  const bareStreams = await openStreams(floor.ready.grpcAddress, false);
  await sendBeats(bareStreams, 0, Math.ceil(beats / 10), false);
  const decodeMicros = await floor.cpuDuring(() =>
    sendBeats(bareStreams, Math.ceil(beats / 10), Math.ceil(beats / 10) + beats, false),
  );
  for (const stream of bareStreams) stream.call.cancel();

  await using transaction = await MeasuredProcess.start<{ cpuMicros: number }>(
    new URL("./floors/transaction-floor.ts", import.meta.url),
    {
      url: product.ready.databaseUrl,
      deviceIds: Array.from({ length: streamCount }, (_, index) => deviceIdOf(index)),
      rows: total,
      batchRows: floorBatchRows,
    },
  );
  return [
    {
      bench: "heartbeat-stream",
      value: micros / total,
      unit: "us CPU a beat",
      floor: (decodeMicros + transaction.ready.cpuMicros) / total,
      target: "<= 1.5",
      note: `${total} beats on ${streamCount} streams, ${Math.round(total / seconds)} durable beats/s with the load on the same cores`,
    },
  ];
}

interface LoadStream {
  readonly call: ClientDuplexStream<Buffer, Buffer>;
  readonly acked: { through: number; wake: (() => void) | undefined };
}

async function openStreams(address: string, hello: boolean): Promise<LoadStream[]> {
  const streams: LoadStream[] = [];
  await inParallel(streamCount, 64, async (index) => {
    const call = connect(address).makeBidiStreamRequest<Buffer, Buffer>(
      "/ota.v1.HeartbeatService/StreamHeartbeats",
      asIs,
      asIs,
      bearer(deviceTokenOf(index)),
    );
    const stream: LoadStream = { call, acked: { through: 0, wake: undefined } };
    const opened = new Promise<void>((resolve, reject) => {
      call.once(hello ? "data" : "metadata", () => resolve());
      call.once("error", reject);
    });
    call.on("error", () => undefined);
    call.on("data", (bytes: Buffer) => noteAck(stream, bytes));
    call.write(
      encode({
        case: "hello",
        value: { deviceId: deviceIdOf(index), epoch: 1, firmwareVersion: "1.0.0", bootId: "b" },
      }),
    );
    await opened;
    streams.push(stream);
  });
  return streams;
}

/** Sends the beats `from`+1..`to` on every stream; with `acks` it returns when all are durable, else when all are sent. */
async function sendBeats(streams: LoadStream[], from: number, to: number, acks: boolean): Promise<void> {
  const messages = Array.from({ length: to - from }, (_, index) => {
    const sequence = from + index + 1;
    const heartbeat = { sequence: BigInt(sequence), deviceTime: timestampNow(), ...beatAt(sequence) };
    return encode({ case: "batch", value: { heartbeats: [heartbeat] } });
  });
  await Promise.all(
    streams.map(async ({ call, acked }) => {
      for (const [index, message] of messages.entries()) {
        const sequence = from + index + 1;
        while (acks && sequence - acked.through > windowBeats) {
          await new Promise<void>((resolve) => {
            acked.wake = resolve;
          });
        }
        if (!call.write(message)) await new Promise((resolve) => call.once("drain", resolve));
      }
      while (acks && acked.through < to) {
        await new Promise<void>((resolve) => {
          acked.wake = resolve;
        });
      }
      if (!acks) {
        // The floor answers nothing but a goodbye, and that after all before it were decoded.
        const decoded = new Promise((resolve) => call.once("data", resolve));
        call.write(encode({ case: "goodbye", value: {} }));
        await decoded;
      }
    }),
  );
}

function noteAck(stream: LoadStream, bytes: Buffer): void {
  const { message } = fromBinary(StreamHeartbeatsResponseSchema, bytes);
  if (message.case !== "ack") return;
  const { rejected, ackedThrough } = message.value;
  if (rejected.length > 0) throw new Error(`a heartbeat was refused: ${rejected[0]?.description}`);
  stream.acked.through = Number(ackedThrough);
  stream.acked.wake?.();
  stream.acked.wake = undefined;
}

function encode(
  message: NonNullable<MessageInitShape<typeof StreamHeartbeatsRequestSchema>["message"]>,
): Buffer {
  return Buffer.from(
    toBinary(StreamHeartbeatsRequestSchema, create(StreamHeartbeatsRequestSchema, { message })),
  );
}
