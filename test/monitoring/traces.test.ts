import { createHash, randomBytes } from "node:crypto";
import { credentials, Client as GrpcClient, Metadata } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { mintToken, newContent } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { HttpReceiver } from "../support/http-receiver.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { enrol } from "../support/streaming-device.ts";
import { scrapeText } from "./scrape.ts";

/** What a collector of OpenTelemetry sees of a service that is told of it, and what the log says of the same calls. */

let collector: HttpReceiver;
let service: TestService;
let device: PolledDevice;
const lines: LogLine[] = [];
const log: string[] = [];
beforeAll(async () => {
  collector = await HttpReceiver.start();
  service = await startTestService({
    settings: {
      DEVICE_OTA_OTLP_ENDPOINT: collector.url,
      // What nobody asked to be traced is not.
      DEVICE_OTA_TRACE_SHARE_PERCENT: "0",
      DEVICE_OTA_REQUIRE_SIGNATURE: "false",
    },
    log: (line) => {
      log.push(line);
      lines.push(JSON.parse(line) as LogLine);
    },
  });
  device = await PolledDevice.enrol(service.client(), service.enrolmentKey);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await collector[Symbol.asyncDispose]();
});

interface LogLine {
  readonly requestId?: string;
  readonly traceId?: string;
  readonly actor?: string;
  readonly deviceId?: string;
  readonly msg?: string;
}

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];
}

function spansOf(traceId: string): Span[] {
  return spans().filter((span) => span.traceId === traceId);
}

function spans(): Span[] {
  return collector.requests.flatMap(({ body }) =>
    (JSON.parse(body) as Batch).resourceSpans.flatMap(({ scopeSpans }) =>
      scopeSpans.flatMap((each) => each.spans),
    ),
  );
}

interface Batch {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly Span[] }[] }[];
}

interface Caller {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceparent: string;
}

function caller(flags = "01"): Caller {
  const [traceId, spanId] = [randomBytes(16).toString("hex"), randomBytes(8).toString("hex")];
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-${flags}` };
}

const listDevices = "ota.v1.DeviceService/ListDevices";

function byHttp(path: string, { traceparent }: Caller, body?: object): Promise<Response> {
  return fetch(`${service.httpUrl}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      traceparent,
      authorization: `Bearer ${service.adminToken}`,
      ...(body && { "content-type": "application/json", "connect-protocol-version": "1" }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
}

function byGrpc({ traceparent }: Caller): Promise<unknown> {
  const client = new GrpcClient(service.grpcAddress, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("traceparent", traceparent);
  metadata.set("authorization", `Bearer ${service.adminToken}`);
  const bytes = (value: Buffer): Buffer => value;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(`/${listDevices}`, bytes, bytes, Buffer.alloc(0), metadata, (error, answer) => {
      client.close();
      if (error) reject(error);
      else resolve(answer);
    });
  });
}

const doors: Readonly<Record<string, (caller: Caller) => Promise<unknown>>> = {
  grpc: byGrpc,
  connect: (from) => byHttp(`/${listDevices}`, from, {}),
  rest: (from) => byHttp("/api/v1/devices", from),
};

describe.each(Object.entries(doors))("a call by %s", (door, call) => {
  it("goes on with its caller's trace, down to the statements, whose text has no values", async () => {
    const from = caller();
    await call(from);
    const found = await eventually(() => {
      const traced = spansOf(from.traceId);
      if (!traced.some(({ name }) => name === listDevices)) throw new Error("not exported yet");
      return traced;
    });
    const server = found.find(({ name }) => name === listDevices);
    expect(server?.parentSpanId).toBe(from.spanId);
    expect(attributesOf(server)).toMatchObject({ "device_ota.door": door, "device_ota.code": "ok" });
    const statements = found.filter(({ name }) => name === "postgresql");
    expect(statements.length).toBeGreaterThan(0);
    for (const statement of statements) {
      expect(statement.parentSpanId).toBe(server?.spanId);
      expect(attributesOf(statement)["db.query.text"]).toMatch(/select|begin|commit|set/i);
    }
  });

  it("tells the log its trace, also when the caller does not record it", async () => {
    const from = caller("00");
    await call(from);
    await eventually(() => expect(lines.filter(({ traceId }) => traceId === from.traceId)).not.toEqual([]));
    expect(lines.find(({ traceId }) => traceId === from.traceId)).toMatchObject({
      requestId: expect.any(String),
      actor: "operator:DEVICE_OTA_ADMIN_TOKEN",
    });
    expect(spansOf(from.traceId)).toEqual([]);
  });
});

function attributesOf(span: Span | undefined): Record<string, string | undefined> {
  return Object.fromEntries(span?.attributes.map(({ key, value }) => [key, value.stringValue]) ?? []);
}

it("calls of the object store stand below the call that makes them", async () => {
  const from = caller();
  const content = newContent(100);
  const created = await byHttp("/api/v1/firmware", from, {
    product: "traced-product",
    version: "1.0.0",
    deviceTypes: ["sensor"],
    sizeBytes: content.length,
    sha256: createHash("sha256").update(content).digest("hex"),
  });
  expect(created.status).toBe(200);
  const found = await eventually(() => {
    const traced = spansOf(from.traceId);
    if (!traced.some(({ parentSpanId }) => parentSpanId === from.spanId)) throw new Error("not exported yet");
    return traced;
  });
  const call = found.find(({ parentSpanId }) => parentSpanId === from.spanId);
  expect(found.find(({ name }) => name === "store stat")?.parentSpanId).toBe(call?.spanId);
});

it("what a device asks names the device in the log", async () => {
  await device.check(service);
  await eventually(() => expect(lines.filter(({ deviceId }) => deviceId === device.id)).not.toEqual([]));
  expect(lines.find(({ deviceId }) => deviceId === device.id)?.actor).toBe(`device:${device.id}`);
});

it("no secret and no value of a caller reaches the collector", async () => {
  const from = caller();
  await byHttp("/api/v1/devices?filter=serial_number%3D%22a-serial-of-mine%22", from);
  await eventually(() => expect(spansOf(from.traceId).length).toBeGreaterThan(1));
  expect(collector.text).not.toContain(service.adminToken);
  expect(collector.text).not.toContain(service.enrolmentKey);
  expect(collector.text).not.toContain("a-serial-of-mine");
});

it("no secret of whoever calls reaches the log, the metrics or the collector", async () => {
  const rpc = service.client();
  const { deviceToken } = await enrol(rpc, service.enrolmentKey, "1.0.0");
  const { secret: operatorToken } = await mintToken(service, Role.VIEWER);
  const { secret: enrolmentKey } = await rpc.unary(AccessService.method.createEnrolmentKey, {
    name: "one-more",
  });
  const stolen = "a-token-that-nobody-made-0123456789";
  for (const token of [service.adminToken, deviceToken, operatorToken, stolen]) {
    const headers = {
      authorization: `Bearer ${token}`,
      cookie: `session=${token}`,
      traceparent: caller().traceparent,
    };
    await fetch(`${service.httpUrl}/api/v1/devices?filter=${token}`, { headers });
    await fetch(`${service.httpUrl}/no/such/place`, { headers });
  }
  await fetch(`${service.httpUrl}/session`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token: operatorToken }),
  });
  const before = collector.requests.length;
  await byHttp("/api/v1/devices", caller());
  await eventually(() => expect(collector.requests.length).toBeGreaterThan(before));
  const all = [...log, collector.text, await scrapeText(service)].join("\n");
  expect(all).toContain("ota.v1.AccessService/CreateEnrolmentKey");
  for (const secret of [
    service.adminToken,
    service.enrolmentKey,
    deviceToken,
    operatorToken,
    enrolmentKey,
    stolen,
  ]) {
    expect(secret.length).toBeGreaterThan(15);
    expect(all).not.toContain(secret);
  }
});

it("a collector that refuses costs traces and nothing else", async () => {
  collector.status = 503;
  try {
    const from = caller();
    expect((await byHttp("/api/v1/devices", from)).status).toBe(200);
    await eventually(() =>
      expect(lines.some(({ msg }) => msg === "the collector takes no traces; they are lost")).toBe(true),
    );
    expect((await byHttp("/api/v1/devices", from)).status).toBe(200);
  } finally {
    collector.status = 200;
  }
});
