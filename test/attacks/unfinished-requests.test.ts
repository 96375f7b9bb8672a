import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Health, HealthCheckRequestSchema } from "../../gen/grpc/health/v1/health_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { CheckForUpdateRequestSchema, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import type { RawRoute } from "../../src/api/http/raw-route.ts";
import { unary } from "../../src/api/pipeline/endpoint.ts";
import { maxPublicMessageBytes } from "../../src/api/pipeline/pending-requests.ts";
import { callUnary, type Doors, type DoorsOptions, openDoors } from "../api/doors.ts";
import { eventually } from "../support/eventually.ts";

/** Half messages: what their senders never finish must cost little, with a credential or without one. */

const check = UpdateService.method.checkForUpdate;
const checkPath = `/${UpdateService.typeName}/${check.name}`;
const megabyte = 1024 * 1024;

let doors: Doors;
const sessions: ClientHttp2Session[] = [];

async function open(options: Partial<DoorsOptions> = {}) {
  doors = await openDoors({
    services: [UpdateService, AccessService],
    endpoints: [
      unary(check, { access: { device: true, role: "viewer" }, rate: "update_check" }, async () => ({})),
    ],
    ...options,
  });
}

beforeEach(() => {
  sessions.length = 0;
});

afterEach(async () => {
  for (const session of sessions) session.destroy();
  await doors[Symbol.asyncDispose]();
});

function session(): ClientHttp2Session {
  const opened = connect(`http://${doors.grpcAddress}`, { maxSessionMemory: 1_000 });
  opened.on("error", () => {});
  sessions.push(opened);
  return opened;
}

interface HalfCall {
  readonly call: ClientHttp2Stream;
  /** The gRPC status, as soon as it is there. */
  readonly status: Promise<number>;
}

/** Begins a unary gRPC call with a message of `length` bytes and sends all of it but the last byte. */
function halfCall(over: ClientHttp2Session, path: string, length: number, token?: string): HalfCall {
  const call = over.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  });
  call.on("error", () => {});
  const answered = new Promise<number>((resolve) => {
    const take = (headers: Record<string, unknown>) => {
      if (headers["grpc-status"] !== undefined) resolve(Number(headers["grpc-status"]));
    };
    call.on("response", take);
    call.on("trailers", take);
  });
  call.resume();
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(length, 1);
  call.write(prefix);
  call.write(Buffer.alloc(length - 1));
  return { call, status: answered };
}

/** The door answers others as before. */
async function expectServed(): Promise<void> {
  await callUnary(doors.client("viewer"), check, { firmwareVersion: "1.0.0" });
}

describe("a gRPC message that never ends", () => {
  it("of a stranger is refused before any of it is read", async () => {
    await open();
    const calls = [session(), session(), session()].flatMap((over) =>
      Array.from({ length: 100 }, () => halfCall(over, checkPath, megabyte)),
    );
    const answers = await Promise.all(calls.map(({ status: answered }) => answered));
    expect(new Set(answers)).toEqual(new Set([status.UNAUTHENTICATED]));
    await eventually(() => expect(doors.grpc.openCalls).toBe(0));
    expect(doors.pipeline.pendingRequests.size).toBe(0);
    // The server ended them: 100 more fit into the same connections.
    await Promise.all(calls.map(async ({ call }) => call.closed || once(call, "close")));
    await expectServed();
  });

  it("of a stranger waits unread while nobody knows who calls", async () => {
    await open({ slowIdentity: true });
    const call = halfCall(session(), checkPath, megabyte, "nobody");
    expect(await call.status).toBe(status.UNAUTHENTICATED);
    expect(doors.pipeline.pendingRequests.size).toBe(0);
  });

  it("counts for its caller, who gets no more than a share", async () => {
    await open({ pendingRequests: { bytesPerCaller: 4 * megabyte } });
    const calls = [session(), session()].flatMap((over) =>
      Array.from({ length: 10 }, () => halfCall(over, checkPath, megabyte, "device")),
    );
    const answers: number[] = [];
    for (const call of calls) void call.status.then((code) => answers.push(code));
    await eventually(() => expect(answers.length).toBeGreaterThanOrEqual(16));
    expect(new Set(answers)).toEqual(new Set([status.RESOURCE_EXHAUSTED]));
    expect(doors.pipeline.pendingRequests.bytes).toBeLessThanOrEqual(4 * megabyte);
    await expectServed();
    for (const { call } of calls) call.close();
    await eventually(() => expect(doors.pipeline.pendingRequests.bytes).toBe(0));
    expect(doors.pipeline.pendingRequests.size).toBe(0);
    await callUnary(doors.client("device"), check, { firmwareVersion: "1.0.0" });
  });

  it("is refused after a time", async () => {
    await open({ pendingRequests: { timeoutMs: 200 } });
    const call = halfCall(session(), checkPath, 1_000, "device");
    expect(await call.status).toBe(status.DEADLINE_EXCEEDED);
    expect(doors.pipeline.pendingRequests.size).toBe(0);
    await expectServed();
  });

  it("is small where no credential is needed", async () => {
    await open();
    const path = `/${Health.typeName}/${Health.method.check.name}`;
    const call = halfCall(session(), path, megabyte);
    expect(await call.status).toBe(status.RESOURCE_EXHAUSTED);
    // One within the limit is served.
    const service = "x".repeat(maxPublicMessageBytes / 2);
    const message = toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service }));
    const legal = halfCall(session(), path, message.length + 1);
    legal.call.end(Buffer.alloc(1));
    expect(await legal.status).not.toBe(status.RESOURCE_EXHAUSTED);
  });

  it("is given up when the service stops", async () => {
    await open();
    const call = halfCall(session(), checkPath, 1_000, "device");
    await eventually(() => expect(doors.grpc.openCalls).toBe(1));
    await doors.grpc.close({ graceMs: 0 });
    expect(await call.status).toBe(status.UNAVAILABLE);
  });

  it("that comes to its end after a while is served", async () => {
    await open({ slowIdentity: true });
    const message = toBinary(
      CheckForUpdateRequestSchema,
      create(CheckForUpdateRequestSchema, { firmwareVersion: "1.0.0" }),
    );
    const call = session().request({
      ":method": "POST",
      ":path": checkPath,
      "content-type": "application/grpc",
      te: "trailers",
      authorization: "Bearer device",
    });
    const trailers = once(call, "trailers");
    call.resume();
    const frame = Buffer.concat([Buffer.alloc(5), message]);
    frame.writeUInt32BE(message.length, 1);
    for (const byte of frame) {
      call.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    call.end();
    const [headers] = await trailers;
    expect(headers["grpc-status"]).toBe("0");
    expect(doors.pipeline.pendingRequests.size).toBe(0);
  });
});

/**
 * Sends a POST by HTTP/1.1 without the end of its body; resolves to the first line of the answer, or to nothing if the
 * connection was cut or had no answer for some time.
 */
async function halfPost(
  path: string,
  headers: Record<string, string>,
  body: string,
  patienceMs = 60_000,
): Promise<string> {
  const { hostname, port } = new URL(doors.httpUrl);
  const socket = connectSocket(Number(port), hostname);
  socket.on("error", () => {});
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  socket.write([`POST ${path} HTTP/1.1`, `host: ${hostname}`, ...lines, "", body].join("\r\n"));
  let answer = "";
  socket.on("data", (bytes) => {
    answer += bytes.toString();
  });
  const patience = setTimeout(() => socket.destroy(), patienceMs);
  await new Promise((resolve) => {
    socket.once("close", resolve);
    socket.once("data", resolve);
  });
  clearTimeout(patience);
  socket.destroy();
  return answer.split("\r\n", 1)[0] ?? "";
}

describe("an HTTP body that never ends", () => {
  const json = { "content-type": "application/json", "connect-protocol-version": "1" };
  const byDevice = { ...json, authorization: "Bearer device" };
  const connectPath = checkPath;
  const restPath = "/api/v1/updates:check";
  const doorsOfHttp = [
    { door: "Connect", path: connectPath },
    { door: "REST", path: restPath },
  ];

  for (const { door, path } of doorsOfHttp) {
    it(`of a stranger is refused before it is read, by ${door}`, async () => {
      await open();
      const line = await halfPost(path, { ...json, "content-length": "1000000" }, '{"firmwareVersion":"');
      expect(line).toBe("HTTP/1.1 401 Unauthorized");
      expect(doors.pipeline.pendingRequests.size).toBe(0);
    });

    it(`counts for its caller, byte by byte, by ${door}`, async () => {
      await open({ pendingRequests: { bytesPerCaller: 3 * megabyte } });
      const announced = { ...byDevice, "content-length": String(2 * megabyte) };
      const half = `{"firmwareVersion":"${"x".repeat(megabyte)}`;
      const answers = await Promise.all(
        Array.from({ length: 6 }, () => halfPost(path, announced, half, 4_000)),
      );
      // Connect takes no answer from anybody else once it reads.
      expect(answers.filter((line) => line === "" || line.startsWith("HTTP/1.1 429"))).toHaveLength(6);
      expect(doors.pipeline.pendingRequests.bytes).toBeLessThanOrEqual(3 * megabyte);
      await eventually(() => expect(doors.pipeline.pendingRequests.bytes).toBe(0));
      await expectServed();
    });

    it(`without a length counts by what comes, by ${door}`, async () => {
      await open();
      const chunked = { ...byDevice, "transfer-encoding": "chunked" };
      const whole = halfPost(path, chunked, '19\r\n{"firmwareVersion":"1.0"}\r\n0\r\n\r\n');
      expect(await whole).toBe("HTTP/1.1 200 OK");
    });
  }

  it("is small where no credential is needed", async () => {
    await open();
    const path = `/${Health.typeName}/${Health.method.check.name}`;
    const sent = { ...json, "content-length": "1000000" };
    expect(await halfPost(path, sent, '{"service":"')).toMatch(/^HTTP\/1\.1 4(?:13|29) /);
    expect(doors.pipeline.pendingRequests.size).toBe(0);
    await expectServed();
  });

  it("is refused after a time, by REST in words", async () => {
    await open({ pendingRequests: { timeoutMs: 200 } });
    const announced = { ...byDevice, "content-length": "1000" };
    expect(await halfPost(restPath, announced, "{")).toBe("HTTP/1.1 408 Request Timeout");
    // Connect is reading by then and takes no answer from anybody else.
    expect(await halfPost(connectPath, announced, "{")).toBe("");
    expect(doors.pipeline.pendingRequests.size).toBe(0);
    await expectServed();
  });

  it("is refused after a time where a route that is no RPC takes it, and gives its place back", async () => {
    const route: RawRoute = {
      method: "POST",
      url: "/log",
      access: { device: true },
      rate: "device",
      place: "crash_logs",
      body: "buffer",
      handle: async ({ body }) => String(body),
    };
    await open({ pendingRequests: { timeoutMs: 200 }, http: { rawRoutes: [route] } });
    const announced = { authorization: "Bearer device", "content-length": "1000" };
    expect(await halfPost("/log", announced, "the beginning")).toBe("HTTP/1.1 408 Request Timeout");
    expect(doors.pipeline.pendingRequests.size).toBe(0);
    expect(doors.pipeline.parts.places.taken("crash_logs")).toBe(0);
    const whole = { authorization: "Bearer device", "content-length": "4" };
    expect(await halfPost("/log", whole, "beep")).toBe("HTTP/1.1 200 OK");
  });
});
