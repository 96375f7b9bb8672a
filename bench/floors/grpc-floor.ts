import { createReadStream } from "node:fs";
import type { AddressInfo } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerDuplexStream, type ServerWritableStream } from "@grpc/grpc-js";
import {
  type StreamHeartbeatsRequest,
  StreamHeartbeatsRequestSchema,
  StreamHeartbeatsResponseSchema,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import {
  CheckForUpdateRequestSchema,
  CheckForUpdateResponseSchema,
  DownloadFirmwareRequestSchema,
  DownloadFirmwareResponseSchema,
} from "../../gen/ota/v1/update_service_pb.js";
import { measuredArgument, serveMeasurements } from "../harness/measured-side.ts";
import { httpFloor } from "./http-floor.ts";

/**
 * The floor: what grpc-js and node:http cost by themselves for the same messages, with the same decoding and
 * encoding, and no service behind them.
 */
const { file, chunkBytes } = measuredArgument<{ file?: string; chunkBytes?: number }>();

const server = new Server({
  "grpc.max_receive_message_length": 1024 * 1024,
  "grpc.enable_channelz": 0,
});

server.addService(
  {
    checkForUpdate: {
      path: "/ota.v1.UpdateService/CheckForUpdate",
      requestStream: false,
      responseStream: false,
      requestDeserialize: (bytes: Buffer) => fromBinary(CheckForUpdateRequestSchema, bytes),
      requestSerialize: unused,
      responseSerialize: (message) => asBuffer(toBinary(CheckForUpdateResponseSchema, message)),
      responseDeserialize: unused,
    },
    streamHeartbeats: {
      path: "/ota.v1.HeartbeatService/StreamHeartbeats",
      requestStream: true,
      responseStream: true,
      requestDeserialize: (bytes: Buffer) => fromBinary(StreamHeartbeatsRequestSchema, bytes),
      requestSerialize: unused,
      responseSerialize: (message) => asBuffer(toBinary(StreamHeartbeatsResponseSchema, message)),
      responseDeserialize: unused,
    },
    downloadFirmware: {
      path: "/ota.v1.UpdateService/DownloadFirmware",
      requestStream: false,
      responseStream: true,
      requestDeserialize: (bytes: Buffer) => fromBinary(DownloadFirmwareRequestSchema, bytes),
      requestSerialize: unused,
      responseSerialize: (message) => asBuffer(toBinary(DownloadFirmwareResponseSchema, message)),
      responseDeserialize: unused,
    },
  },
  {
    checkForUpdate: (_call: unknown, callback: (error: null, response: unknown) => void) =>
      callback(null, create(CheckForUpdateResponseSchema)),
    streamHeartbeats: (call: ServerDuplexStream<StreamHeartbeatsRequest, unknown>) => {
      call.sendMetadata(call.metadata.clone());
      // Decodes and drops. A goodbye is answered, so that the load generator knows when all before it were decoded.
      call.on("data", ({ message }: StreamHeartbeatsRequest) => {
        if (message.case === "goodbye") call.write(create(StreamHeartbeatsResponseSchema));
      });
      call.on("end", () => call.end());
    },
    downloadFirmware: (call: ServerWritableStream<unknown, unknown>) => void download(call),
  },
);

async function download(call: ServerWritableStream<unknown, unknown>): Promise<void> {
  let offset = 0n;
  for await (const data of createReadStream(file ?? "", { highWaterMark: chunkBytes ?? 65_536 })) {
    const chunk = { offset, data: data as Buffer, crc32c: 0 };
    offset += BigInt(chunk.data.length);
    const message = create(DownloadFirmwareResponseSchema, { message: { case: "chunk", value: chunk } });
    if (!call.write(message)) await new Promise((resolve) => call.once("drain", resolve));
  }
  call.end();
}

const http = httpFloor(file ?? "");
await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
const port = await new Promise<number>((resolve, reject) =>
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
    error === null ? resolve(bound) : reject(error),
  ),
);

serveMeasurements(
  { grpcAddress: `127.0.0.1:${port}`, httpUrl: `http://127.0.0.1:${(http.address() as AddressInfo).port}` },
  async () => {
    server.forceShutdown();
    http.close();
  },
);

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function unused(): never {
  throw new Error("only the server's side is used");
}
