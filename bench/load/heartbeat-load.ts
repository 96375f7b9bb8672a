import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import {
  StreamHeartbeatsRequestSchema,
  StreamHeartbeatsResponseSchema,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import { beatAt } from "./beats.ts";
import { deviceIdOf, deviceTokenOf } from "./fleet.ts";
import { asIs, bearer, connect, inParallel } from "./raw-client.ts";

/** One open heartbeat stream of the load generator, on a connection of its own. */
export class LoadStream {
  readonly call: ClientDuplexStream<Buffer, Buffer>;
  /** Every heartbeat up to this one is acknowledged. */
  acked = 0;
  /** Is told of each ack. */
  onAck: ((through: number) => void) | undefined;

  constructor(call: ClientDuplexStream<Buffer, Buffer>) {
    this.call = call;
    call.on("error", () => undefined);
    call.on("data", (bytes: Buffer) => this.#read(bytes));
  }

  /** Resolves at the next ack. */
  nextAck(): Promise<void> {
    return new Promise((resolve) => {
      this.onAck = () => resolve();
    });
  }

  /** Sends a message as it is; resolves when the transport wants more. */
  async send(message: Buffer): Promise<void> {
    if (!this.call.write(message)) await new Promise((resolve) => this.call.once("drain", resolve));
  }

  #read(bytes: Buffer): void {
    const { message } = fromBinary(StreamHeartbeatsResponseSchema, bytes);
    if (message.case !== "ack") return;
    const { rejected, ackedThrough } = message.value;
    if (rejected.length > 0) throw new Error(`a heartbeat was refused: ${rejected[0]?.description}`);
    this.acked = Number(ackedThrough);
    this.onAck?.(this.acked);
  }
}

/**
 * Opens the streams of the seeded devices `from` to `to`-1 and says hello on each. The service answers that with a
 * welcome, the bare floor with its headers.
 */
export async function openLoadStreams(
  address: string,
  {
    from,
    to,
    answers,
  }: { readonly from: number; readonly to: number; readonly answers: "welcome" | "headers" },
): Promise<LoadStream[]> {
  const streams: LoadStream[] = [];
  await inParallel(to - from, 64, async (offset) => {
    const index = from + offset;
    const call = connect(address).makeBidiStreamRequest<Buffer, Buffer>(
      "/ota.v1.HeartbeatService/StreamHeartbeats",
      asIs,
      asIs,
      bearer(deviceTokenOf(index)),
    );
    const opened = new Promise<void>((resolve, reject) => {
      call.once(answers === "welcome" ? "data" : "metadata", () => resolve());
      call.once("error", reject);
    });
    streams.push(new LoadStream(call));
    call.write(
      encodeRequest({
        case: "hello",
        value: { deviceId: deviceIdOf(index), epoch: 1, firmwareVersion: "1.0.0", bootId: "b" },
      }),
    );
    await opened;
  });
  return streams;
}

/** A message with the one heartbeat of this number. */
export function beatMessage(sequence: number): Buffer {
  const heartbeat = { sequence: BigInt(sequence), deviceTime: timestampNow(), ...beatAt(sequence) };
  return encodeRequest({ case: "batch", value: { heartbeats: [heartbeat] } });
}

/** A message as bytes. */
export function encodeRequest(
  message: NonNullable<MessageInitShape<typeof StreamHeartbeatsRequestSchema>["message"]>,
): Buffer {
  return Buffer.from(
    toBinary(StreamHeartbeatsRequestSchema, create(StreamHeartbeatsRequestSchema, { message })),
  );
}
