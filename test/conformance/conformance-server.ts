// The program that the runner of connectrpc/conformance tests: our pipeline and doors with its service on them. It reads from standard
// input which protocol and transport are wanted, answers on standard output where they are, and ends with SIGTERM.
//
// Usage: connectconformance --mode server … -- node test/conformance/conformance-server.ts

import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { PortTls } from "../../src/api/tls/port-tls.ts";
import { localhostTls, openDoors } from "../api/doors.ts";
import { Arrivals } from "./arrivals.ts";
import { conformanceEndpoints } from "./conformance-service.ts";
import { Protocol } from "./gen/connectrpc/conformance/v1/config_pb.js";
import {
  type ServerCompatRequest,
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from "./gen/connectrpc/conformance/v1/server_compat_pb.js";
import { ConformanceService } from "./gen/connectrpc/conformance/v1/service_pb.js";
import { SuitePipeline } from "./suite-pipeline.ts";

const wanted = fromBinary(ServerCompatRequestSchema, await readFrame());
const tls = await tlsOf(wanted);
await using doors = await openDoors({
  services: [ConformanceService],
  endpoints: conformanceEndpoints(new Arrivals("viewer")),
  Pipeline: SuitePipeline,
  tls,
});
const address = wanted.protocol === Protocol.GRPC ? `http://${doors.grpcAddress}` : doors.httpUrl;
const answer = create(ServerCompatResponseSchema, {
  host: "127.0.0.1",
  port: Number(new URL(address).port),
  ...(tls === undefined ? {} : { pemCert: wanted.serverCreds?.cert ?? new Uint8Array() }),
});
process.stdout.write(framed(toBinary(ServerCompatResponseSchema, answer)));
await once(process, "SIGTERM");

/** Standard input as a message with its length before it. */
async function readFrame(): Promise<Buffer> {
  let read: Buffer = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    read = Buffer.concat([read, chunk as Buffer]);
    if (read.length >= 4 && read.length >= 4 + read.readUInt32BE()) break;
  }
  return read.subarray(4, 4 + read.readUInt32BE());
}

function framed(message: Uint8Array): Buffer {
  const frame = Buffer.concat([Buffer.alloc(4), message]);
  frame.writeUInt32BE(message.length);
  return frame;
}

/** TLS with the certificate that the runner made. */
async function tlsOf({ useTls, serverCreds }: ServerCompatRequest): Promise<PortTls | undefined> {
  if (!useTls || serverCreds === undefined) return undefined;
  const folder = mkdtempSync(join(tmpdir(), "device-ota-conformance-"));
  try {
    const files = { certFile: join(folder, "certificate.pem"), keyFile: join(folder, "key.pem") };
    writeFileSync(files.certFile, serverCreds.cert);
    writeFileSync(files.keyFile, serverCreds.key, { mode: 0o600 });
    return await localhostTls(files);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
