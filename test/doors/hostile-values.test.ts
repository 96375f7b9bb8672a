import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { type DescMethod, fromJson, getOption, hasOption, type JsonValue } from "@bufbuild/protobuf";
import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { http as httpRule } from "../../gen/google/api/annotations_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { contractServices } from "../../src/api/pipeline/endpoint-table.ts";
import { type HttpBinding, httpBindings } from "../../src/api/pipeline/http-binding.ts";
import { clientErrorFrom } from "../../src/client/client-error.ts";
import { enrolDevice, http, newContent, publish } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { type Base, type HostileRequest, hostileRequests, type Json, jsonText } from "./hostile-requests.ts";

/*
 * Every field of every request message, with every value of its kind that something stumbles over, through every door: whoever
 * sends it is told what is wrong with it, and nobody else notices.
 */

// Thousands of calls for the largest requests.
vi.setConfig({ testTimeout: 600_000 });

let service: TestService;
let client: Client;
/** Kept connections and no more than they need: `fetch` would take as long as the service. */
let agent: Agent;
let bases: Readonly<Record<string, { readonly [name: string]: Json }>>;
let tokens: { readonly device: string; readonly admin: string };

beforeAll(async () => {
  const off = ["HEARTBEAT", "UPDATE_CHECK", "ENROL", "API", "DOWNLOAD"].map((name) => [
    `DEVICE_OTA_RATE_LIMIT_${name}`,
    "off",
  ]);
  service = await startTestService({ settings: Object.fromEntries(off) });
  client = new Client(service.grpcAddress, credentials.createInsecure());
  agent = new Agent({ keepAlive: true });
  const device = await enrolDevice(service);
  const firmware = await publish(service, newContent(100));
  const { rollout } = await service
    .client()
    .unary(RolloutService.method.createRollout, { firmwareId: firmware.id });
  tokens = { device: device.token, admin: service.adminToken };
  // What is done to a device is done to another one: the one that calls goes on.
  const other = await enrolDevice(service);
  bases = requestsThatWouldDo({
    device: device.id,
    other: other.id,
    firmware: firmware.id,
    rollout: rollout?.id ?? "",
  });
});
afterAll(async () => {
  client.close();
  agent.destroy();
  await service[Symbol.asyncDispose]();
});

interface Ids {
  readonly device: string;
  readonly other: string;
  readonly firmware: string;
  readonly rollout: string;
}

/** What would do, where an empty request would not even come to the field in question. What ends something names nothing there is. */
function requestsThatWouldDo({ device, other, firmware, rollout }: Ids): typeof bases {
  const nobody = randomUUID();
  const time = { startTime: "2026-01-01T00:00:00Z", endTime: "2026-01-02T00:00:00Z" };
  return {
    "DeviceService/EnrolDevice": {
      enrolmentKey: service.enrolmentKey,
      serialNumber: "hostile",
      deviceType: "thermostat",
      hardwareModel: "rev a",
      firmwareVersion: "1.0.0",
    },
    "DeviceService/RegisterDevice": {
      serialNumber: "registered",
      deviceType: "thermostat",
      hardwareModel: "rev a",
    },
    "DeviceService/GetDevice": { id: device },
    "DeviceService/UpdateDevice": { id: other },
    "DeviceService/RetireDevice": { id: nobody },
    "DeviceService/ResetDeviceCredential": { id: nobody },
    "DeviceService/BatchUpdateDevices": { deviceIds: [other] },
    "DeviceService/CreateSavedFilter": { name: "some", filter: 'device_type = "thermostat"' },
    "DeviceService/DeleteSavedFilter": { id: nobody },
    "DeviceService/QueryVersionHistory": time,
    "ErrorService/GetErrorGroup": { id: nobody },
    "ErrorService/UpdateErrorGroup": { id: nobody },
    "ErrorService/GetErrorTimeline": { id: nobody },
    "ErrorService/ListErrorGroupDevices": { id: nobody },
    "ErrorService/DownloadCrashLog": { id: nobody },
    "FirmwareService/CreateFirmware": {
      product: "hostile",
      version: "1.0.0",
      deviceTypes: ["thermostat"],
      sha256: "0".repeat(64),
      sizeBytes: "10",
    },
    "FirmwareService/GetFirmware": { id: firmware },
    "FirmwareService/UpdateFirmware": { id: firmware },
    "FirmwareService/DeleteFirmware": { id: nobody },
    "FirmwareService/GetFirmwareManifest": { id: firmware },
    "FirmwareService/SignFirmware": { id: nobody },
    "FirmwareService/GetFirmwareUpload": { id: firmware },
    "FirmwareService/UploadFirmwareChunk": { id: firmware },
    "FirmwareService/DeployFirmware": { id: nobody },
    "HeartbeatService/SendHeartbeat": { heartbeats: [{ firmwareVersion: "1.0.0", bootId: "b" }] },
    "HeartbeatService/StreamHeartbeats": { hello: { agentVersion: "1.0.0" } },
    "HeartbeatService/ListHeartbeats": { deviceId: device, ...time },
    "RolloutService/CreateRollout": { firmwareId: firmware },
    "RolloutService/GetRollout": { id: rollout },
    "RolloutService/PreviewRollout": { firmwareId: firmware },
    "RolloutService/ExplainUpdate": { rolloutId: rollout, deviceId: device },
    "RolloutService/GetRolloutHealth": { id: rollout },
    "RolloutService/ListFailureReasons": { id: rollout },
    "RolloutService/ListDeviceUpdates": { rolloutId: rollout },
    "RolloutService/WatchRollout": { id: rollout },
    "TelemetryService/QuerySeries": { deviceId: device, metrics: ["battery_percent"], ...time },
    "TelemetryService/ExportHeartbeats": { deviceId: device, ...time },
    "TelemetryService/GetTrack": { deviceId: device, ...time },
    "TelemetryService/SearchPositions": { south: 1, west: 1, north: 2, east: 2 },
    "UpdateService/CheckForUpdate": { firmwareVersion: "1.0.0", bootId: "b" },
    "UpdateService/DownloadFirmware": { updateId: nobody },
    "UpdateService/ReportUpdateStatus": { updateId: nobody, state: "DEVICE_UPDATE_STATE_DOWNLOADING" },
    "AccessService/CreateToken": { name: "some", role: "ROLE_VIEWER" },
    "AccessService/CreateEnrolmentKey": { name: "some" },
    "AccessService/RevokeToken": { id: nobody },
    "AccessService/RevokeEnrolmentKey": { id: nobody },
    "AccessService/RevokeSigningKey": { id: nobody, reason: "lost" },
    "AccessService/DisablePerson": { id: nobody },
    "AccessService/EnablePerson": { id: nobody },
    "AccessService/EndPersonSessions": { id: nobody },
  };
}

const methods = contractServices.flatMap(({ methods: each }) => each);

it.each(methods.map((method) => [nameOf(method), method] as const))(
  "%s answers whatever stands in a field of its request",
  async (name, method) => {
    const json = bases[name] ?? {};
    const base: Base = { json, message: fromJson(method.input, json as JsonValue) };
    const wrong: string[] = [];
    let calls = 0;
    await each(hostileRequests(method.input, base), async (request) => {
      for (const [door, outcome] of await knockEverywhere(method, request)) {
        calls++;
        if (outcome !== undefined) wrong.push(`${door}: ${request.what}: ${outcome}`);
      }
    });
    expect(wrong).toEqual([]);
    total += calls;
  },
);

/** How often all doors were knocked at. */
let total = 0;

it("leaves all that can be listed readable, in more than 20,000 calls", async () => {
  const { adminToken: token } = service;
  expect(total).toBeGreaterThan(20_000);
  for (const list of [
    "devices",
    "firmware",
    "rollouts",
    "errorGroups",
    "audit",
    "access/tokens",
    "access/enrolmentKeys",
    "savedFilters",
  ]) {
    let pageToken = "";
    do {
      const query = pageToken === "" ? "" : `?pageToken=${encodeURIComponent(pageToken)}`;
      const path = `/api/v1/${list}${query}`;
      const { status: code, body } = await http(service, "GET", path, { token });
      expect([list, code, code === 200 ? "" : body]).toEqual([list, 200, ""]);
      pageToken = body.nextPageToken ?? "";
    } while (pageToken !== "");
  }
  for (const token of [tokens.device, tokens.admin]) {
    const { status: code } = await http(service, "GET", "/api/v1/access/whoami", { token });
    expect(code).toBe(200);
  }
  const { status: ready } = await http(service, "GET", "/health/ready");
  expect(ready).toBe(200);
});

/** Some at once, as a busy client does: no more than uploads of one kind are taken at once. */
async function each(
  requests: Iterable<HostileRequest>,
  knock: (request: HostileRequest) => Promise<void>,
): Promise<void> {
  const iterator = requests[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) await knock(next.value);
  };
  await Promise.all(Array.from({ length: 4 }, worker));
}

/** What is wrong with the answer of each door that can be told this; undefined if nothing is. */
async function knockEverywhere(
  method: DescMethod,
  { json, binary }: HostileRequest,
): Promise<[door: string, wrong: string | undefined][]> {
  const outcomes: [string, string | undefined][] = [];
  if (binary !== undefined) outcomes.push(["gRPC", await knockByGrpc(method, Buffer.from(binary))]);
  if (method.methodKind !== "unary") return outcomes;
  const path = `/${method.parent.typeName}/${method.name}`;
  const connect = { method: "POST", headers: { ...bearer(method), "connect-protocol-version": "1" } };
  if (binary !== undefined) {
    const headers = { ...connect.headers, "content-type": "application/proto" };
    outcomes.push(["Connect", await knockByHttp(path, { ...connect, headers, body: Buffer.from(binary) })]);
  }
  if (json === undefined) return outcomes;
  const headers = { ...bearer(method), "content-type": "application/json" };
  outcomes.push([
    "Connect JSON",
    await knockByHttp(path, {
      ...connect,
      headers: { ...connect.headers, ...headers },
      body: jsonText(json),
    }),
  ]);
  for (const binding of hasOption(method, httpRule)
    ? httpBindings(method, getOption(method, httpRule))
    : []) {
    const { url, body } = restRequest(binding, json as { readonly [name: string]: Json });
    if (url === undefined) continue;
    const sent = { method: binding.verb, headers: body === undefined ? bearer(method) : headers, body };
    outcomes.push(["REST", await knockByHttp(url, sent)]);
  }
  return outcomes;
}

/** A request as REST says it; without URL where a path or query cannot say it. */
function restRequest(
  { path, template, body }: HttpBinding,
  json: { readonly [name: string]: Json },
): { readonly url: string | undefined; readonly body?: string } {
  const rest = { ...json };
  let url = path;
  for (const variable of template.variables) {
    const jsonName = variable.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
    const value = rest[jsonName];
    if (typeof value !== "string" || value === "" || !value.isWellFormed() || value.length > 1_000)
      return { url: undefined };
    url = url.replace(new RegExp(`\\{${variable}(=[^}]*)?\\}`), encodeURIComponent(value));
    delete rest[jsonName];
  }
  if (body === "*") return { url, body: jsonText(rest) };
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(rest)) {
    for (const item of Array.isArray(value) ? value.slice(0, 200) : [value]) {
      const said = typeof item === "object" && item !== null ? jsonText(item) : String(item);
      query.append(name, said.toWellFormed().slice(0, 2_000));
    }
  }
  if (body !== undefined) {
    const held = rest[body.jsonName];
    query.delete(body.jsonName);
    return { url: `${url}?${query.toString()}`, body: jsonText(held ?? {}) };
  }
  return { url: `${url}?${query.toString()}` };
}

function bearer(method: DescMethod): { authorization: string } {
  const isDevices =
    /^ota\.v1\.(?:UpdateService|HeartbeatService)$/.test(method.parent.typeName) ||
    method.name === "UploadCrashLog";
  return {
    authorization: `Bearer ${isDevices && method.name !== "ListHeartbeats" ? tokens.device : tokens.admin}`,
  };
}

/** What is sent over HTTP. */
interface HttpRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | undefined;
}

async function knockByHttp(
  path: string,
  { method, headers, body }: HttpRequest,
): Promise<string | undefined> {
  const call = request(new URL(path, service.httpUrl), { agent, method, headers }).end(body);
  const [response] = (await once(call, "response")) as [IncomingMessage];
  const { statusCode = 0 } = response;
  const said = await text(response);
  if (statusCode >= 500) return `${statusCode} ${said.slice(0, 300)}`;
  if ("retry-after" in response.headers) return `${statusCode} to be tried again: ${said.slice(0, 300)}`;
  return undefined;
}

/** Knocks with bytes that stand for one message; a stream is left once it has answered. */
async function knockByGrpc(method: DescMethod, bytes: Buffer): Promise<string | undefined> {
  const metadata = new Metadata();
  metadata.set("authorization", bearer(method).authorization);
  const path = `/${method.parent.typeName}/${method.name}`;
  const error = await new Promise<ServiceError | null>((resolve) => {
    const options = { deadline: Date.now() + 60_000 };
    const left = (stream: ClientReadableStream<Buffer> | ClientDuplexStream<Buffer, Buffer>): void => {
      stream.on("data", () => stream.cancel());
      stream.on("error", (failure: ServiceError) => resolve(failure));
      stream.on("end", () => resolve(null));
      if (method.name.startsWith("Watch")) setTimeout(() => stream.cancel(), watchMs).unref();
    };
    switch (method.methodKind) {
      case "unary":
        client.makeUnaryRequest(path, same, same, bytes, metadata, options, (failure) => resolve(failure));
        return;
      case "server_streaming":
        left(client.makeServerStreamRequest(path, same, same, bytes, metadata, options));
        return;
      case "client_streaming":
        client
          .makeClientStreamRequest(path, same, same, metadata, options, (failure) => resolve(failure))
          .end(bytes);
        return;
      case "bidi_streaming": {
        const stream = client.makeBidiStreamRequest(path, same, same, metadata, options);
        left(stream);
        stream.end(bytes);
      }
    }
  });
  if (error === null || error.code === status.CANCELLED) return undefined;
  const { reason, fields, retryAfterMs } = clientErrorFrom(error);
  const said = `${status[error.code]} ${reason} ${error.details}`;
  if (retryAfterMs !== undefined || !answers.has(error.code)) return said;
  // Bytes that are no message have no fields.
  const isMessage = !/is not a valid ota\.v1/.test(error.details);
  return error.code === status.INVALID_ARGUMENT && isMessage && fields.length === 0
    ? `${said} names no field`
    : undefined;
}

/** What a client may be told: that it asked for something wrong, and nothing that calls for another try. */
const answers: ReadonlySet<status> = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.FAILED_PRECONDITION,
  status.ABORTED,
  status.OUT_OF_RANGE,
  status.UNAUTHENTICATED,
  // A message beyond its largest size.
  status.RESOURCE_EXHAUSTED,
]);

/** Watching ends by itself only when there is nothing more to watch. */
const watchMs = 300;

function nameOf(method: DescMethod): string {
  return `${method.parent.name}/${method.name}`;
}

function same(bytes: Buffer): Buffer {
  return bytes;
}
