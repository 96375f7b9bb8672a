import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestService, type TestService } from "../support/service.ts";
import { GrpcWire, sendHttp, sendText, type WireAnswer, type WireRequest } from "./wire.ts";

/** What the protocols of the doors ask of them, as bytes on the wire (docs/doors.md). */

let service: TestService;
let grpc: GrpcWire;
beforeAll(async () => {
  service = await startTestService();
  grpc = new GrpcWire(service.grpcAddress);
});
afterAll(async () => {
  grpc[Symbol.dispose]();
  await service[Symbol.asyncDispose]();
});

/** A case: its name, what is sent, and what is said of the answer. */
type Case = readonly [
  name: string,
  send: () => Promise<WireAnswer>,
  expected: Partial<Record<"status" | "code", number>> & {
    readonly reason?: string | undefined;
    readonly fields?: readonly string[];
    readonly headers?: Readonly<Record<string, string>>;
  },
];

const json = { "content-type": "application/json" };
const whoAmI = "/ota.v1.AccessService/WhoAmI";
const watch = "/ota.v1.RolloutService/WatchRollout";
const create = "/ota.v1.FirmwareService/CreateFirmware";
const list = "/ota.v1.FirmwareService/ListFirmware";
const nobody = "0199aaaa-0000-7000-8000-000000000000";

/** As an administrator. */
function authorized(headers: Readonly<Record<string, string>> = {}) {
  return { authorization: `Bearer ${service.adminToken}`, ...headers };
}

/** A REST call as an administrator. */
function rest(method: string, path: string, more: Omit<WireRequest, "path"> = {}) {
  const headers = more.body === undefined ? {} : json;
  return () =>
    sendHttp(service.httpUrl, {
      method,
      path,
      ...more,
      headers: authorized({ ...headers, ...more.headers }),
    });
}

/** A Connect call as an administrator; headers can be replaced. */
function connectCall(
  path: string,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
) {
  const all = () => authorized({ ...json, "connect-protocol-version": "1", ...headers });
  return () => sendHttp(service.httpUrl, { method: "POST", path, headers: all(), body });
}

function run(cases: readonly Case[]): void {
  it.each(cases)("%s", async (_name, send, { headers = {}, ...expected }) => {
    const answer = await send();
    expect(answer, answer.message).toMatchObject(expected);
    expect(answer.headers).toMatchObject(headers);
  });
}

const raw = (written: string) => () => sendText(service.httpUrl, written);
const anonymous = (request: WireRequest) => () => sendHttp(service.httpUrl, request);
const invalid = { status: 400, code: 3, reason: "INVALID_REQUEST" };

describe("HTTP answers in google.rpc.Status", () => {
  const notFound = { status: 404, code: 5, reason: "NOT_FOUND" };
  const wrongMethod = (allow: string) => ({
    status: 405,
    code: 12,
    reason: "UNIMPLEMENTED",
    headers: { allow },
  });
  run([
    ["where there is nothing", anonymous({ path: "/nothing" }), notFound],
    ["where there is nothing, to any method", anonymous({ method: "POST", path: "/nothing" }), notFound],
    ["where there is nothing below /api", rest("GET", "/api/v1/nothing"), notFound],
    ["where there is nothing below /health", anonymous({ path: "/health/nothing" }), notFound],
    ["a method that a path has not", rest("DELETE", "/api/v1/firmware"), wrongMethod("GET, POST")],
    [
      "a method that a probe has not",
      anonymous({ method: "POST", path: "/health/ready" }),
      wrongMethod("GET"),
    ],
    ["a method that metrics have not", anonymous({ method: "DELETE", path: "/metrics" }), wrongMethod("GET")],
    [
      "a method that a download has not",
      rest("POST", `/api/v1/updates/${nobody}/content`),
      wrongMethod("GET, HEAD"),
    ],
    [
      "a method that the session has not",
      anonymous({ method: "GET", path: "/session" }),
      wrongMethod("DELETE, POST"),
    ],
    [
      "a method that nobody knows",
      raw("FOO /api/v1/firmware HTTP/1.1\r\nhost: a\r\n\r\n"),
      { status: 501, code: 12, reason: "UNIMPLEMENTED" },
    ],
    ["what is no HTTP", raw("GET / HTTQ/1.1\r\nhost: a\r\n\r\n"), invalid],
    [
      "two lengths of one body",
      raw("POST /api/v1/firmware HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"),
      invalid,
    ],
    [
      "a length and chunks of one body",
      raw(
        "POST /api/v1/firmware HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
      ),
      invalid,
    ],
    [
      "headers that are too large",
      raw(`GET /health HTTP/1.1\r\nhost: a\r\nx: ${"a".repeat(20_000)}\r\n\r\n`),
      { status: 431, code: 8, reason: "MESSAGE_TOO_LARGE" },
    ],
    ["a path with broken percent-encoding", anonymous({ path: "/%zz" }), invalid],
    ["a path below /api with broken percent-encoding", rest("GET", "/api/v1/%zz"), invalid],
    [
      "whoever shows no credential",
      anonymous({ path: "/api/v1/firmware" }),
      {
        status: 401,
        code: 16,
        reason: "CREDENTIAL_MISSING",
        headers: { "www-authenticate": "Bearer" },
      },
    ],
    [
      "whoever shows a wrong one",
      anonymous({ path: "/api/v1/firmware", headers: { authorization: "Bearer nobody" } }),
      { status: 401, code: 16, reason: "CREDENTIAL_INVALID", headers: { "www-authenticate": "Bearer" } },
    ],
    [
      "a body that is not JSON by its type",
      rest("POST", "/api/v1/firmware", { body: "{}", headers: { "content-type": "text/plain" } }),
      { status: 415, code: 3, reason: "INVALID_REQUEST" },
    ],
  ]);

  it.each(["/health", "/health/", "/health/ready", "/health/ready/", "/health/live", "/health/live/"])(
    "but probes at %s are answered",
    async (path) => {
      expect(await sendHttp(service.httpUrl, { path })).toMatchObject({ status: 200 });
    },
  );
});

describe("Connect answers in its own form", () => {
  const unsupported = { status: 415, code: 3, reason: "INVALID_REQUEST" };
  run([
    [
      "an RPC that there is not",
      connectCall("/ota.v1.AccessService/Nothing", "{}"),
      { status: 404, code: 5, reason: "NOT_FOUND" },
    ],
    [
      "a service that there is not",
      connectCall("/ota.v1.Nothing/WhoAmI", "{}"),
      { status: 404, code: 5, reason: "NOT_FOUND" },
    ],
    [
      "a method of HTTP that the RPC has not",
      rest("PUT", whoAmI),
      { status: 405, code: 12, reason: "UNIMPLEMENTED", headers: { allow: "GET, POST" } },
    ],
    [
      "GET where the RPC changes something",
      rest("GET", create),
      { status: 405, code: 12, reason: "UNIMPLEMENTED", headers: { allow: "POST" } },
    ],
    ["GET that names no encoding", rest("GET", whoAmI), unsupported],
    [
      "a media type that it does not speak",
      connectCall(whoAmI, "{}", { "content-type": "text/plain" }),
      unsupported,
    ],
    ["none at all", anonymous({ method: "POST", path: whoAmI }), unsupported],
    [
      "a media type of streams for a unary RPC",
      connectCall(whoAmI, "", { "content-type": "application/connect+json" }),
      {
        ...unsupported,
        headers: { "accept-post": "application/proto, application/json, application/grpc-web+proto" },
      },
    ],
    ["a media type of unary RPCs for a stream", connectCall(watch, "{}"), unsupported],
    ["gRPC over HTTP/1.1", connectCall(whoAmI, "", { "content-type": "application/grpc" }), unsupported],
    [
      "a call without the protocol's version",
      connectCall(whoAmI, "{}", { "connect-protocol-version": "" }),
      invalid,
    ],
    [
      "another version of the protocol",
      connectCall(whoAmI, "{}", { "connect-protocol-version": "2" }),
      invalid,
    ],
    ["a time-out that is none", connectCall(whoAmI, "{}", { "connect-timeout-ms": "soon" }), invalid],
    [
      "a time-out of too many digits",
      connectCall(whoAmI, "{}", { "connect-timeout-ms": "12345678901" }),
      invalid,
    ],
    [
      "bytes that are no message",
      connectCall(whoAmI, Buffer.from("ff", "hex"), { "content-type": "application/proto" }),
      invalid,
    ],
    ["text that is no JSON", connectCall(list, '{"states":'), invalid],
    [
      "whoever shows no credential",
      connectCall(whoAmI, "{}", { authorization: "" }),
      { status: 401, code: 16, reason: "CREDENTIAL_MISSING", headers: { "www-authenticate": "Bearer" } },
    ],
  ]);
});

describe("gRPC answers with a status and its details", () => {
  it("a call that is right", async () => {
    expect(await grpc.send({ path: whoAmI, headers: authorized() })).toMatchObject({ status: 200, code: 0 });
  });
});
