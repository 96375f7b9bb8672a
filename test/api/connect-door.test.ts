import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { clientStream, serverStream, unary } from "../../src/api/pipeline/endpoint.ts";
import { OtaError } from "../../src/errors.ts";
import { eventually } from "../support/eventually.ts";
import { type Doors, deviceId, openDoors } from "./doors.ts";

const viewer = { access: { role: "viewer" }, rate: "operator" } as const;
let doors: Doors;
let events: string[];

beforeEach(async () => {
  events = [];
  doors = await openDoors({
    services: [RolloutService, FirmwareService],
    endpoints: [
      unary(RolloutService.method.getRollout, viewer, async ({ id }, { door, peer }) => ({
        rollout: { id, name: `${door} ${peer}` },
      })),
      clientStream(FirmwareService.method.uploadFirmware, viewer, async (requests) => {
        for await (const _ of requests) events.push("chunk");
        return {};
      }),
      unary(RolloutService.method.startRollout, viewer, async () => {
        throw new OtaError("aborted", "ILLEGAL_TRANSITION", "no", { retryAfterMs: 2_000 });
      }),
      serverStream(RolloutService.method.watchRollout, viewer, async function* ({ id }, { signal }) {
        signal.addEventListener("abort", () => events.push("abort"));
        try {
          yield { rollout: { id, name: "first" } };
          await new Promise((_resolve, reject) =>
            signal.addEventListener("abort", () => reject(signal.reason)),
          );
        } finally {
          events.push("returned");
        }
      }),
    ],
    rateLimits: { operator: { calls: 6, periodMs: 3_600_000 } },
  });
});
afterEach(() => doors[Symbol.asyncDispose]());

type MakeTransport = (options: {
  baseUrl: string;
  httpVersion: "1.1";
  nodeOptions: { agent: Agent };
}) => Transport;

function client(make: MakeTransport, token = "viewer") {
  // A connection for each call: the service closes one whose request it did not read to the end.
  const nodeOptions = { agent: new Agent({ keepAlive: false }) };
  const transport = make({ baseUrl: doors.httpUrl, httpVersion: "1.1", nodeOptions });
  const calls = createClient(RolloutService, transport);
  return { calls, headers: { authorization: `Bearer ${token}` } };
}

describe.each([
  ["Connect", createConnectTransport],
  ["gRPC-Web", createGrpcWebTransport],
])("%s", (_name, make) => {
  it("serves unary calls", async () => {
    const { calls, headers } = client(make);
    let requestId: string | null = null;
    const answer = await calls.getRollout(
      { id: deviceId },
      { headers, onHeader: (header) => (requestId = header.get("x-request-id")) },
    );
    expect(answer.rollout).toMatchObject({ id: deviceId, name: "connect 127.0.0.1" });
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("refuses strangers, invalid requests and too many calls with their details", async () => {
    const { calls, headers } = client(make);
    const stranger = await failure(calls.getRollout({ id: deviceId }));
    expect(stranger.code).toBe(Code.Unauthenticated);
    expect(stranger.findDetails(ErrorInfoSchema)[0]).toMatchObject({
      reason: "CREDENTIAL_MISSING",
      domain: "ota.device",
    });
    const invalid = await failure(calls.getRollout({ id: "x" }, { headers }));
    expect(invalid.code).toBe(Code.InvalidArgument);
    expect(invalid.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe("id");
    const refused = await failure(calls.startRollout({ id: deviceId }, { headers }));
    expect(refused.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds).toBe(2n);
    for (let i = 0; i < 4; i++) await calls.getRollout({ id: deviceId }, { headers });
    const limited = await failure(calls.getRollout({ id: deviceId }, { headers }));
    expect(limited.findDetails(ErrorInfoSchema)[0]?.reason).toBe("RATE_LIMITED");
  });

  it("refuses messages above 2 MiB, and says so as with every error", async () => {
    const { calls, headers } = client(make);
    const id = "x".repeat(2 * 1024 * 1024 + 1);
    const watch = async () => {
      for await (const _ of calls.watchRollout({ id }, { headers }));
    };
    for (const call of [() => calls.getRollout({ id }, { headers }), watch]) {
      const error = await failure(call());
      expect(error.code).toBe(Code.ResourceExhausted);
      const [info] = error.findDetails(ErrorInfoSchema);
      expect(info).toMatchObject({ reason: "MESSAGE_TOO_LARGE", domain: "ota.device" });
      expect(info?.metadata["requestId"]).toMatch(/^[0-9a-f-]{36}$/);
    }
    expect(await doors.metrics.text()).toContain(
      'method="ota.v1.RolloutService/GetRollout",door="connect",code="resource_exhausted"} 1',
    );
  });

  it("serves streams, and ends their handlers when the client goes away", async () => {
    const { calls, headers } = client(make);
    const stop = new AbortController();
    const stream = calls.watchRollout({ id: deviceId }, { headers, signal: stop.signal });
    const first = await stream[Symbol.asyncIterator]().next();
    expect(first.value?.rollout?.name).toBe("first");
    stop.abort();
    await eventually(() => expect(events.toSorted()).toEqual(["abort", "returned"]));
    await eventually(async () =>
      expect(await doors.metrics.text()).toContain(
        'open_streams{method="ota.v1.RolloutService/WatchRollout",door="connect"} 0',
      ),
    );
  });
});

it.each(["application/connect+proto", "application/grpc-web+proto"])(
  "refuses a message above 2 MiB in the middle of a stream of %s",
  async (contentType) => {
    const frames = [8, 2 * 1024 * 1024 + 1].map((length) => {
      const frame = Buffer.alloc(5 + length);
      frame.writeUInt32BE(length, 1);
      return frame;
    });
    const url = `${doors.httpUrl}/ota.v1.FirmwareService/UploadFirmware`;
    const headers = {
      "content-type": contentType,
      "connect-protocol-version": "1",
      authorization: "Bearer viewer",
    };
    // A connection of its own, which the service closes because of what it did not read.
    const call = request(url, { method: "POST", headers, agent: false });
    call.end(Buffer.concat(frames));
    const [response] = (await once(call, "response")) as [IncomingMessage];
    const answer = await text(response);
    expect(answer).toMatch(contentType.includes("grpc") ? /grpc-status: 8/ : /"code":"resource_exhausted"/);
    const [, details = ""] = /(?:"value":"|grpc-status-details-bin: )([\w+/=-]+)/.exec(answer) ?? [];
    expect(Buffer.from(details, "base64").toString("latin1")).toContain("MESSAGE_TOO_LARGE");
    expect(await doors.metrics.text()).toContain(
      'method="ota.v1.FirmwareService/UploadFirmware",door="connect",code="resource_exhausted"} 1',
    );
  },
);

it("counts calls whose body cannot be read", async () => {
  const response = await fetch(`${doors.httpUrl}/ota.v1.RolloutService/GetRollout`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "connect-protocol-version": "1",
      authorization: "Bearer viewer",
    },
    body: "{broken",
  });
  expect(response.status).toBe(400);
  expect(await doors.metrics.text()).toContain(
    'method="ota.v1.RolloutService/GetRollout",door="connect",code="invalid_argument"} 1',
  );
});

it("does not take a call that a foreign page could send without a preflight", async () => {
  const response = await fetch(`${doors.httpUrl}/ota.v1.RolloutService/GetRollout`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer viewer" },
    body: JSON.stringify({ id: deviceId }),
  });
  expect(response.status).toBe(400);
});

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error("the call succeeded");
}
