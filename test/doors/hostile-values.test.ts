import { randomInt } from "node:crypto";
import { type DescMethod, fromJson, getOption, hasOption, type JsonValue } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { http as httpRule } from "../../gen/google/api/annotations_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { contractServices } from "../../src/api/pipeline/endpoint-table.ts";
import { httpBindings } from "../../src/api/pipeline/http-binding.ts";
import { enrolDevice, http, newContent, publish } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { type Base, type HostileRequest, hostileRequests, type Json, jsonText } from "./hostile-requests.ts";
import { faultOf, framed, type HttpKnock, Knocker } from "./knocking.ts";
import { restRequest } from "./rest-request.ts";
import { isForDevices, type SeedRequests, seedOf, seedRequests } from "./seed-requests.ts";

/*
 * Every field of every request message, with every value of its kind that something stumbles over, through every door: whoever
 * sends it is told what is wrong with it, and nobody else notices.
 */

// Thousands of calls for the largest requests.
vi.setConfig({ testTimeout: 600_000 });

let service: TestService;
let knocker: Knocker;
let bases: SeedRequests;
let tokens: { readonly device: string; readonly admin: string };

beforeAll(async () => {
  const off = ["HEARTBEAT", "UPDATE_CHECK", "ENROL", "API", "DOWNLOAD"].map((name) => [
    `DEVICE_OTA_RATE_LIMIT_${name}`,
    "off",
  ]);
  service = await startTestService({
    settings: { ...Object.fromEntries(off), DEVICE_OTA_WEBHOOK_MAX: "1000" },
  });
  knocker = new Knocker(service);
  const device = await enrolDevice(service);
  const firmware = await publish(service, newContent(100));
  const { rollout } = await service
    .client()
    .unary(RolloutService.method.createRollout, { firmwareId: firmware.id });
  tokens = { device: device.token, admin: service.adminToken };
  // What is done to a device is done to another one: the one that calls goes on.
  const other = await enrolDevice(service);
  bases = seedRequests({
    enrolmentKey: service.enrolmentKey,
    device: device.id,
    other: other.id,
    firmware: firmware.id,
    rollout: rollout?.id ?? "",
  });
});
afterAll(async () => {
  knocker[Symbol.dispose]();
  await service[Symbol.asyncDispose]();
});

/** Every request at every door, as `make fuzz` has it. */
const all = process.env["FUZZ_CALLS"] !== undefined;

/** Counts the requests: the even ones go to other doors than the odd ones. */
let turn = randomInt(4);

const methods = contractServices.flatMap(({ methods: each }) => each);

it.each(methods.map((method) => [nameOf(method), method] as const))(
  "%s answers whatever stands in a field of its request",
  async (_name, method) => {
    const base = (): Base => {
      const json = seedOf(bases, method);
      return { json, message: fromJson(method.input, json as JsonValue) };
    };
    const wrong: string[] = [];
    let calls = 0;
    const within = new Set<string>();
    await each(hostileRequests(method.input, base), async (request) => {
      if (request.within !== undefined) {
        within.add(request.within);
        // What other requests had in the same message is sampled.
        if (!all && known.has(request.within) && turn++ % 4 !== 0) return;
      }
      for (const [door, outcome] of await knockAtDoors(method, request)) {
        calls++;
        if (outcome !== undefined) wrong.push(`${door}: ${request.what}: ${outcome}`);
      }
    });
    for (const name of within) known.add(name);
    expect(wrong).toEqual([]);
    total += calls;
  },
);

/** Messages within requests of which every field has been walked. */
const known = new Set<string>();

/** How often all doors were knocked at. */
let total = 0;

it("leaves all that can be listed readable, in more than 12,000 calls", async () => {
  const { adminToken: token } = service;
  expect(total).toBeGreaterThan(12_000);
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

/**
 * What is wrong with the answer of each door; undefined if nothing is. What only reads bytes, or JSON, differently from another door
 * gets every second request, because a value that is harmless behind one is harmless behind all; the next run has the others.
 */
async function knockAtDoors(
  method: DescMethod,
  { json, binary }: HostileRequest,
): Promise<[door: string, wrong: string | undefined][]> {
  const outcomes: [string, string | undefined][] = [];
  const isUnary = method.methodKind === "unary";
  const path = `/${method.parent.typeName}/${method.name}`;
  const connect = { ...bearer(method), "connect-protocol-version": "1" };
  const [first, second] = [all || turn++ % 2 === 0, all || turn % 2 === 0];
  if (binary !== undefined && (first || !isUnary)) outcomes.push(["gRPC", await knockByGrpc(method, binary)]);
  if (!isUnary) return outcomes;
  if (binary !== undefined && second) {
    const headers = { ...connect, "content-type": "application/proto" };
    outcomes.push(["Connect", await knockByHttp({ method: "POST", path, headers, body: binary })]);
  }
  if (json === undefined) return outcomes;
  const bindings = hasOption(method, httpRule) ? httpBindings(method, getOption(method, httpRule)) : [];
  if (first || bindings.length === 0) {
    const headers = { ...connect, "content-type": "application/json" };
    outcomes.push([
      "Connect JSON",
      await knockByHttp({ method: "POST", path, headers, body: jsonText(json) }),
    ]);
  }
  for (const binding of second ? bindings : []) {
    const { url, body } = restRequest(binding, json as { readonly [name: string]: Json });
    if (url === undefined) continue;
    const headers = {
      ...bearer(method),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    };
    outcomes.push(["REST", await knockByHttp({ method: binding.verb, path: url, headers, body })]);
  }
  return outcomes;
}

function bearer(method: DescMethod): { authorization: string } {
  return { authorization: `Bearer ${isForDevices(method) ? tokens.device : tokens.admin}` };
}

async function knockByHttp(knock: HttpKnock): Promise<string | undefined> {
  const answer = await knocker.http(knock);
  const { httpStatus, retryAfterMs, said } = answer;
  if (retryAfterMs !== undefined) return `${httpStatus} to be tried again: ${said.slice(0, 300)}`;
  return faultOf(answer) ?? ((httpStatus ?? 0) >= 500 ? String(httpStatus) : undefined);
}

/** Knocks with bytes that stand for one message; a stream is left once it has answered. */
async function knockByGrpc(method: DescMethod, bytes: Uint8Array): Promise<string | undefined> {
  const answer = await knocker.grpc({
    path: `/${method.parent.typeName}/${method.name}`,
    headers: bearer(method),
    chunks: [framed(bytes)],
    leave: {
      afterAnswer: method.methodKind.endsWith("streaming"),
      // Watching ends by itself only when there is nothing more to watch.
      ...(method.name.startsWith("Watch") ? { afterMs: watchMs } : {}),
    },
  });
  const { end, code = status.UNKNOWN, said, reason, fields, retryAfterMs } = answer;
  if (code === status.OK || end === "left") return undefined;
  const words = `${status[code]} ${reason} ${said}`;
  if (retryAfterMs !== undefined || !answers.has(code)) return words;
  // Bytes that are no message have no fields.
  const isMessage = !/is not a valid ota\.v1/.test(said);
  return code === status.INVALID_ARGUMENT && isMessage && fields.length === 0
    ? `${words} names no field`
    : undefined;
}

/** What a client may be told: that it asked for something wrong, and nothing that calls for another try. */
const answers: ReadonlySet<status> = new Set([
  status.CANCELLED,
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

const watchMs = 300;

function nameOf(method: DescMethod): string {
  return `${method.parent.name}/${method.name}`;
}
