import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { connect as connectSocket, type Socket } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ErrorService, UploadCrashLogRequestSchema } from "../../gen/ota/v1/error_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import type { ClientError } from "../../src/client/client-error.ts";
import { bytes, type EnrolledDevice, enrolDevice, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** A device that takes as much as it can of the service, with a healthy one beside it. */

const settings = {
  DEVICE_OTA_RATE_LIMIT_CRASH_LOG: "3/hour",
  DEVICE_OTA_MAX_CRASH_LOG_UPLOADS: "4",
  DEVICE_OTA_MAX_CRASH_LOG_UPLOADS_PER_DEVICE: "2",
  DEVICE_OTA_RATE_LIMIT_HEARTBEAT_BYTES: "1000000/hour",
};

let service: TestService;
beforeAll(async () => {
  service = await startTestService({ settings });
});
afterAll(() => service[Symbol.asyncDispose]());

const open: { destroy(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.destroy();
});

const uploadPath = `/${ErrorService.typeName}/${ErrorService.method.uploadCrashLog.name}`;

function session(): ClientHttp2Session {
  const opened = connect(`http://${service.grpcAddress}`);
  opened.on("error", () => {});
  open.push(opened);
  return opened;
}

interface HalfUpload {
  readonly call: ClientHttp2Stream;
  /** The gRPC status, as soon as it is there. */
  readonly status: Promise<number>;
}

/** Sends the beginning of a crash log and nothing more. */
function halfUpload(over: ClientHttp2Session, { token }: EnrolledDevice): HalfUpload {
  const call = over.request({
    ":method": "POST",
    ":path": uploadPath,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${token}`,
  });
  call.on("error", () => {});
  const status = new Promise<number>((resolve) => {
    const take = (headers: Record<string, unknown>) => {
      if (headers["grpc-status"] !== undefined) resolve(Number(headers["grpc-status"]));
    };
    call.on("response", take);
    call.on("trailers", take);
  });
  call.resume();
  const chunk = toBinary(
    UploadCrashLogRequestSchema,
    create(UploadCrashLogRequestSchema, { data: new Uint8Array(1_000) }),
  );
  const frame = Buffer.concat([Buffer.alloc(5), chunk]);
  frame.writeUInt32BE(chunk.length, 1);
  call.write(frame);
  return { call, status };
}

/** The same by HTTP; resolves to the first line of an answer, if one comes. */
async function halfPost({ token }: EnrolledDevice): Promise<{ socket: Socket; answer: Promise<string> }> {
  const { hostname, port } = new URL(service.httpUrl);
  const socket = connectSocket(Number(port), hostname);
  open.push(socket);
  socket.on("error", () => {});
  await once(socket, "connect");
  const head = [
    "POST /api/v1/crashLogs HTTP/1.1",
    `host: ${hostname}`,
    `authorization: Bearer ${token}`,
    "content-type: text/plain",
    "content-length: 100000",
  ];
  socket.write(`${head.join("\r\n")}\r\n\r\nthe beginning`);
  const answer = once(socket, "data").then(([data]) => String(data).split("\r\n", 1)[0] ?? "");
  return { socket, answer };
}

function upload({ token }: EnrolledDevice): Promise<unknown> {
  const whole = (async function* () {
    yield { data: bytes(Buffer.from("the whole log")) };
  })();
  return service.client(token).clientStream(ErrorService.method.uploadCrashLog, whole);
}

async function storedLogs({ id }: EnrolledDevice): Promise<unknown[]> {
  const client = new pg.Client(service.databaseUrl);
  await client.connect();
  const { rows } = await client.query("SELECT stored_at FROM crash_logs WHERE device_id = $1", [id]);
  await client.end();
  return rows;
}

describe("slow uploads of crash logs", () => {
  it("by gRPC take no more than a share, and give it back", async () => {
    const [attacker, healthy] = [await enrolDevice(service), await enrolDevice(service)];
    const over = session();
    const calls = Array.from({ length: 64 }, () => halfUpload(over, attacker));
    const refused: number[] = [];
    for (const { status } of calls) void status.then((code) => refused.push(code));
    await eventually(() => expect(refused).toHaveLength(62));
    expect(new Set(refused)).toEqual(new Set([8]));
    await upload(healthy);
    expect(await refusal(upload(attacker))).toMatchObject({ reason: "TOO_MANY_STREAMS" });
    for (const { call } of calls) call.close(constants.NGHTTP2_CANCEL);
    await eventually(() => upload(attacker));
  });

  it("by HTTP take no more than a share, and give it back", async () => {
    const [attacker, healthy] = [await enrolDevice(service), await enrolDevice(service)];
    const halves = [await halfPost(attacker), await halfPost(attacker)];
    const third = await eventually(async () => {
      const more = await halfPost(attacker);
      halves.push(more);
      return await more.answer;
    });
    expect(third).toBe("HTTP/1.1 429 Too Many Requests");
    await upload(healthy);
    for (const { socket } of halves) socket.destroy();
    await eventually(() => upload(attacker));
  });
});

describe("uploads of crash logs that are taken back", () => {
  it("leave no log and cost nothing, however many", async () => {
    const device = await enrolDevice(service);
    const over = session();
    for (let each = 0; each < 30; each++) {
      const { call } = halfUpload(over, device);
      if (each % 3 > 0) await new Promise((resolve) => over.ping(resolve));
      if (each % 3 > 1) await new Promise((resolve) => setTimeout(resolve, 5));
      call.close(constants.NGHTTP2_CANCEL);
      const { socket } = await halfPost(device);
      socket.destroy();
    }
    for (let each = 0; each < 3; each++) await eventually(() => upload(device));
    expect(await refusal(upload(device))).toMatchObject({ reason: "RATE_LIMITED" });
    const logs = await storedLogs(device);
    expect(logs).toHaveLength(3);
    expect(logs).not.toContainEqual({ stored_at: null });
  });
});

describe("heartbeats by the megabyte", () => {
  const stack = "#1 f (x=1) at main.c:10\n".repeat(300);
  const heavy = (sequence: number) => ({
    sequence: BigInt(sequence),
    firmwareVersion: "1.0.0",
    bootId: "b",
    errors: Array.from({ length: 40 }, (_, index) => ({ code: `E${index}`, message: "m", stack })),
  });
  const { method } = HeartbeatService;

  it("of one device are refused with a time to wait, while others are heard", async () => {
    const [attacker, healthy] = [await enrolDevice(service), await enrolDevice(service)];
    const client = service.client(attacker.token);
    const send = (sequence: number) => client.unary(method.sendHeartbeat, { heartbeats: [heavy(sequence)] });
    await send(1);
    let sequence = 2;
    const error = await eventually(async () => {
      const thrown = await send(sequence++).catch((refused: unknown) => refused as ClientError);
      expect(thrown).toMatchObject({ reason: "RATE_LIMITED" });
      return thrown as ClientError;
    });
    expect(error.retryAfterMs).toBeGreaterThan(60_000);
    const { ack } = await service
      .client(healthy.token)
      .unary(method.sendHeartbeat, { heartbeats: [heavy(1)] });
    expect(ack?.ackedThrough).toBe(1n);
  });

  it("end a stream in the same way, and what was not stored is not acknowledged", async () => {
    const device = await enrolDevice(service);
    const stream = service.client(device.token).bidi(method.streamHeartbeats);
    await stream.send({ message: { case: "hello", value: { deviceId: device.id } } });
    let acked = 0n;
    const read = (async () => {
      for await (const { message } of stream) if (message.case === "ack") acked = message.value.ackedThrough;
    })();
    const ended = read.then(
      () => undefined,
      (error: unknown) => error as ClientError,
    );
    for (let sequence = 1; sequence <= 20; sequence++) {
      await stream
        .send({ message: { case: "batch", value: { heartbeats: [heavy(sequence)] } } })
        .catch(() => undefined);
    }
    const error = await ended;
    expect(error).toMatchObject({ reason: "RATE_LIMITED" });
    expect(error?.retryAfterMs).toBeGreaterThan(60_000);
    expect(acked).toBeLessThan(5n);
  });
});
