import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Health, HealthCheckRequestSchema } from "../../gen/grpc/health/v1/health_pb.js";
import { DeviceService, WatchFleetRequestSchema } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { DownloadFirmwareRequestSchema, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { downloadRoute } from "../../src/api/download/download-route.ts";
import { bidiStream, type CallContext, serverStream } from "../../src/api/pipeline/endpoint.ts";
import type { PlaceLimits } from "../../src/api/pipeline/places.ts";
import { type Doors, type DoorsOptions, deviceId, openDoors } from "../api/doors.ts";
import { eventually } from "../support/eventually.ts";

/** Callers that take as much as they can of what is there for all: each gets a share, at every door. */

const watch = DeviceService.method.watchFleet;
const watchPath = `/${DeviceService.typeName}/${watch.name}`;
const streamPath = `/${HeartbeatService.typeName}/${HeartbeatService.method.streamHeartbeats.name}`;
const downloadPath = `/${UpdateService.typeName}/${UpdateService.method.downloadFirmware.name}`;
const healthPath = `/${Health.typeName}/${Health.method.watch.name}`;

let doors: Doors;
const open: { destroy(): void }[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  for (const each of open.splice(0)) each.destroy();
  await doors[Symbol.asyncDispose]();
});

async function untilGone({ signal }: CallContext): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}

async function openWith(places: Partial<PlaceLimits>, more: Partial<DoorsOptions> = {}): Promise<void> {
  doors = await openDoors({
    services: [DeviceService, HeartbeatService, UpdateService],
    endpoints: [
      serverStream(watch, { access: { role: "viewer" }, rate: "operator" }, async function* (_, context) {
        yield {};
        await untilGone(context);
      }),
      bidiStream(
        HeartbeatService.method.streamHeartbeats,
        { access: { device: true }, rate: "heartbeat", place: "heartbeats" },
        async function* (_, context) {
          yield {};
          await untilGone(context);
        },
      ),
      serverStream(
        UpdateService.method.downloadFirmware,
        { access: { device: true }, rate: "download", place: "downloads" },
        async function* (_, context) {
          yield {};
          await untilGone(context);
        },
      ),
    ],
    places,
    ...more,
  });
}

function session(): ClientHttp2Session {
  const opened = connect(`http://${doors.grpcAddress}`);
  opened.on("error", () => {});
  open.push(opened);
  return opened;
}

interface OpenCall {
  readonly call: ClientHttp2Stream;
  /** `open` once an answer came, or the gRPC status of the refusal. */
  readonly outcome: string;
}

/** Begins a gRPC call with one message and waits for what becomes of it. */
async function begin<I extends DescMessage>(
  over: ClientHttp2Session,
  path: string,
  token: string | undefined,
  input?: I,
  message?: MessageInitShape<I>,
): Promise<OpenCall> {
  const call = over.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  });
  call.on("error", () => {});
  const settled = new Promise<string>((resolve) => {
    call.on("response", (headers) => {
      if (headers["grpc-status"] !== undefined) resolve(String(headers["grpc-status"]));
    });
    call.on("data", () => resolve("open"));
    call.on("trailers", (headers) => resolve(String(headers["grpc-status"])));
  });
  if (input !== undefined) {
    const bytes = toBinary(input, create(input, message));
    const frame = Buffer.concat([Buffer.alloc(5), bytes]);
    frame.writeUInt32BE(bytes.length, 1);
    call.end(frame);
  }
  return { call, outcome: await settled };
}

const watchAs = (token: string, over = session()) => begin(over, watchPath, token, WatchFleetRequestSchema);
const beatAs = (token: string) => begin(session(), streamPath, token);

const outcomes = (calls: readonly OpenCall[]) => calls.map(({ outcome }) => outcome);

/** gRPC's RESOURCE_EXHAUSTED. */
const exhausted = "8";

/** Begins a stream by Connect over HTTP/1.1 and waits for the first of its answer: `open`, or the refusal. */
async function watchByConnect(token: string, contentType: string): Promise<string> {
  const { hostname, port } = new URL(doors.httpUrl);
  const socket = connectSocket(Number(port), hostname);
  open.push(socket);
  socket.on("error", () => {});
  const body = Buffer.alloc(5);
  const head = [
    `POST ${watchPath} HTTP/1.1`,
    `host: ${hostname}`,
    `authorization: Bearer ${token}`,
    `content-type: ${contentType}`,
    "connect-protocol-version: 1",
    `content-length: ${body.length}`,
  ];
  socket.write(Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), body]));
  let answer = "";
  socket.on("data", (bytes) => {
    answer += bytes.toString("latin1");
  });
  return await eventually(() => {
    const [, refusal] = /(?<refusal>resource_exhausted|grpc-status: 8)/.exec(answer) ?? [];
    if (refusal !== undefined) return "refused";
    // Head, then a chunk with the first message: five bytes of zero.
    expect(answer).toContain("\0\0\0\0\0");
    return "open";
  });
}

describe("streams", () => {
  it("of one token are a share of those of operators, and none of those of devices", async () => {
    await openWith({
      operators: { most: 10, perCaller: 4 },
      heartbeats: { most: 2, perCaller: 2 },
    });
    const over = session();
    const viewer = await Promise.all(Array.from({ length: 20 }, () => watchAs("viewer", over)));
    expect(outcomes(viewer).filter((outcome) => outcome === "open")).toHaveLength(4);
    expect(new Set(outcomes(viewer))).toEqual(new Set(["open", exhausted]));
    expect((await watchAs("operator")).outcome).toBe("open");
    expect(outcomes(await Promise.all([beatAs("device"), beatAs("device")]))).toEqual(["open", "open"]);
    expect((await beatAs("device")).outcome).toBe(exhausted);
  });

  it("of all operators have an end, which devices do not feel", async () => {
    await openWith({ operators: { most: 3, perCaller: 2 } });
    const tokens = ["viewer", "operator", "admin"];
    const calls = await Promise.all([...tokens, ...tokens].map((token) => watchAs(token)));
    expect(outcomes(calls).filter((outcome) => outcome === "open")).toHaveLength(3);
    expect((await beatAs("device")).outcome).toBe("open");
  });

  it("of one address are a share, whoever calls from there", async () => {
    await openWith({ operators: { most: 100, perCaller: 100, perAddress: 2 } });
    const calls = await Promise.all(["viewer", "operator", "admin"].map((token) => watchAs(token)));
    expect(outcomes(calls).toSorted()).toEqual([exhausted, "open", "open"]);
  });

  it("without a credential are a share of each address", async () => {
    await openWith({ anonymous: { most: 100, perCaller: 2 } });
    const calls = await Promise.all(
      Array.from({ length: 5 }, () => begin(session(), healthPath, undefined, HealthCheckRequestSchema)),
    );
    expect(outcomes(calls).filter((outcome) => outcome === "open")).toHaveLength(2);
    expect((await watchAs("viewer")).outcome).toBe("open");
  });

  it.each([
    ["Connect", "application/connect+proto"],
    ["gRPC-Web", "application/grpc-web+proto"],
  ])("by %s are of the same share", async (_, contentType) => {
    await openWith({ operators: { most: 100, perCaller: 3 } });
    expect((await watchAs("viewer")).outcome).toBe("open");
    expect(await watchByConnect("viewer", contentType)).toBe("open");
    expect(await watchByConnect("viewer", contentType)).toBe("open");
    expect(await watchByConnect("viewer", contentType)).toBe("refused");
    expect((await watchAs("viewer")).outcome).toBe(exhausted);
    expect(await watchByConnect("operator", contentType)).toBe("open");
  });

  it("give their places back however they end", async () => {
    await openWith({ operators: { most: 2, perCaller: 2 } }, { slowIdentity: true });
    const { places } = doors.pipeline.parts;
    for (let each = 0; each < 3; each++) {
      const { call, outcome } = await watchAs("viewer");
      expect(outcome).toBe("open");
      call.close();
      expect(await watchByConnect("viewer", "application/connect+proto")).toBe("open");
      for (const opened of open.splice(0)) opened.destroy();
      await eventually(() => expect(places.taken("operators")).toBe(0));
    }
    // Taken back before anybody knew who calls.
    const over = session();
    for (let each = 0; each < 50; each++) {
      const call = over.request({ ":method": "POST", ":path": watchPath, authorization: "Bearer viewer" });
      call.on("error", () => {});
      call.close();
    }
    await new Promise((resolve) => over.ping(resolve));
    await eventually(() => expect(doors.grpc.openCalls).toBe(0));
    expect(places.taken("operators")).toBe(0);
  });
});

describe("downloads", () => {
  it("of one device are a share, over gRPC and HTTP together", async () => {
    const route = downloadRoute(async () => ({
      sizeBytes: 1_000_000,
      sha256: "0".repeat(64),
      elsewhere: async () => undefined,
      async *read() {
        yield Buffer.alloc(1_000);
        await new Promise(() => {});
      },
    }));
    await openWith({ downloads: { most: 100, perCaller: 3 } }, { http: { rawRoutes: [route] } });
    const controller = new AbortController();
    const byHttp = () =>
      fetch(`${doors.httpUrl}/api/v1/updates/${deviceId}/content`, {
        headers: { authorization: "Bearer device" },
        signal: controller.signal,
      });
    const byGrpc = () =>
      begin(session(), downloadPath, "device", DownloadFirmwareRequestSchema, { updateId: deviceId });
    expect((await byHttp()).status).toBe(200);
    expect((await byHttp()).status).toBe(200);
    const { call, outcome } = await byGrpc();
    expect(outcome).toBe("open");
    expect((await byGrpc()).outcome).toBe(exhausted);
    const refused = await byHttp();
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toBe("10");
    expect((await beatAs("device")).outcome).toBe("open");
    call.close();
    await eventually(() => expect(doors.pipeline.parts.places.taken("downloads")).toBe(2));
    expect((await byGrpc()).outcome).toBe("open");
    controller.abort();
  });
});

describe("questions that need no credential", () => {
  it.each(["/metrics", "/health/live", "/health/ready", "/health"])("at %s have a limit", async (path) => {
    await openWith({}, { rateLimits: { probe: { calls: 5, periodMs: 3_600_000 } } });
    const answers = await Promise.all(Array.from({ length: 30 }, () => fetch(doors.httpUrl + path)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(5);
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused).toHaveLength(25);
    expect(Number(refused[0]?.headers.get("retry-after"))).toBeGreaterThan(3_000);
  });

  it("about metrics are answered from one text", async () => {
    await openWith({});
    const made = vi.spyOn(doors.metrics, "text");
    await Promise.all(Array.from({ length: 200 }, () => fetch(`${doors.httpUrl}/metrics`)));
    expect(made.mock.calls.length).toBeLessThan(20);
  });
});
