import { once } from "node:events";
import { constants } from "node:http2";
import { deflateSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestService, type TestService } from "../support/service.ts";
import { framed } from "./knocking.ts";
import { type GrpcRequest, GrpcWire, sendHttp, sendText, type WireAnswer, type WireRequest } from "./wire.ts";

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
      { status: 404, code: 12, reason: "UNIMPLEMENTED" },
    ],
    [
      "a service that there is not",
      connectCall("/ota.v1.Nothing/WhoAmI", "{}"),
      { status: 404, code: 12, reason: "UNIMPLEMENTED" },
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
      "a time-out of a month",
      connectCall(whoAmI, "{}", { "connect-timeout-ms": "2592000000" }),
      { status: 200 },
    ],
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

/** A gRPC call as an administrator; headers can be replaced, or left out by an empty text. */
function grpcCall(path: string, more: Omit<GrpcRequest, "path"> = {}) {
  return () => grpc.send({ path, ...more, headers: authorized(more.headers) });
}

describe("gRPC answers with a status and its details", () => {
  const unimplemented = { status: 200, code: 12, reason: "UNIMPLEMENTED" };
  const malformed = { status: 200, code: 3, reason: "INVALID_REQUEST" };
  run([
    ["a call", grpcCall(whoAmI), { status: 200, code: 0 }],
    ["a method that there is not", grpcCall("/ota.v1.AccessService/Nothing"), unimplemented],
    ["a service that there is not", grpcCall("/ota.v1.Nothing/WhoAmI"), unimplemented],
    ["a path that is none", grpcCall("/"), unimplemented],
    [
      "a media type of something else",
      grpcCall(whoAmI, { headers: { "content-type": "application/json" } }),
      { status: 415, code: 3, reason: "INVALID_REQUEST" },
    ],
    [
      "no media type",
      grpcCall(whoAmI, { headers: { "content-type": "" } }),
      { status: 415, code: 3, reason: "INVALID_REQUEST" },
    ],
    [
      "gRPC-Web",
      grpcCall(whoAmI, { headers: { "content-type": "application/grpc-web+proto" } }),
      { status: 415, code: 3, reason: "INVALID_REQUEST" },
    ],
    [
      "messages in JSON",
      grpcCall(whoAmI, { headers: { "content-type": "application/grpc+json" } }),
      unimplemented,
    ],
    [
      "a media type with parameters",
      grpcCall(whoAmI, { headers: { "content-type": "application/grpc+proto; charset=utf-8" } }),
      { status: 200, code: 0 },
    ],
    [
      "a method of HTTP that is not POST",
      grpcCall(whoAmI, { headers: { ":method": "PUT" } }),
      { status: 405, code: 12, reason: "UNIMPLEMENTED", headers: { allow: "POST" } },
    ],
    [
      "a compression that it does not know",
      grpcCall(whoAmI, { headers: { "grpc-encoding": "zstd" } }),
      { ...unimplemented, headers: { "grpc-accept-encoding": "identity,deflate,gzip" } },
    ],
    [
      "a message in gzip",
      grpcCall(whoAmI, {
        headers: { "grpc-encoding": "gzip" },
        body: framed(gzipSync(new Uint8Array()), 1),
      }),
      { status: 200, code: 0 },
    ],
    [
      "a message in deflate",
      grpcCall(whoAmI, {
        headers: { "grpc-encoding": "deflate" },
        body: framed(deflateSync(new Uint8Array()), 1),
      }),
      { status: 200, code: 0 },
    ],
    [
      "an uncompressed message of a call that names a compression",
      grpcCall(whoAmI, { headers: { "grpc-encoding": "gzip" } }),
      { status: 200, code: 0 },
    ],
    [
      "a message that is no gzip though it says so",
      grpcCall(whoAmI, { headers: { "grpc-encoding": "gzip" }, body: framed(Buffer.from("a"), 1) }),
      malformed,
    ],
    [
      "gzip that unpacks to more than a message may have",
      grpcCall(whoAmI, {
        headers: { "grpc-encoding": "gzip" },
        body: framed(gzipSync(Buffer.alloc(3 * 1024 * 1024)), 1),
      }),
      { status: 200, code: 8, reason: "MESSAGE_TOO_LARGE" },
    ],
    [
      "a message that says it is larger than any may be",
      grpcCall(whoAmI, { body: framed(new Uint8Array(), 0, 2 ** 31) }),
      { status: 200, code: 8, reason: "MESSAGE_TOO_LARGE" },
    ],
    ["bytes that are no message", grpcCall(whoAmI, { body: framed(Buffer.from("ff", "hex")) }), malformed],
    ["no message at all", grpcCall(whoAmI, { body: new Uint8Array() }), unimplemented],
    [
      "two messages of a unary call",
      grpcCall(whoAmI, { body: Buffer.concat([framed(new Uint8Array()), framed(new Uint8Array())]) }),
      unimplemented,
    ],
    ["no message of a call that streams back", grpcCall(watch, { body: new Uint8Array() }), unimplemented],
    ...["soon", "1", "S", "1s", "-1S", "1.5S", "1 S"].map(
      (timeout): Case => [
        `a time-out that is none: ${timeout}`,
        grpcCall(whoAmI, { headers: { "grpc-timeout": timeout } }),
        malformed,
      ],
    ),
    [
      "the end of its time",
      grpcCall("/ota.v1.DeviceService/WatchFleet", { headers: { "grpc-timeout": "300m" } }),
      { status: 200, code: 4, reason: "DEADLINE_EXCEEDED" },
    ],
    ["a time-out of nine digits", grpcCall(whoAmI, { headers: { "grpc-timeout": "123456789S" } }), malformed],
    ...["99999999H", "10S", "10000m", "10000000u"].map(
      (timeout): Case => [
        `a time-out that is one: ${timeout}`,
        grpcCall(whoAmI, { headers: { "grpc-timeout": timeout } }),
        { status: 200, code: 0 },
      ],
    ),
    [
      "whoever shows no credential",
      grpcCall(whoAmI, { headers: { authorization: "" } }),
      { status: 200, code: 16, reason: "CREDENTIAL_MISSING" },
    ],
    [
      "a field that breaks its rule",
      grpcCall("/ota.v1.FirmwareService/GetFirmware", { body: framed(Buffer.from("0a0131", "hex")) }),
      { ...malformed, fields: ["id"] },
    ],
    [
      "an id that the caller gives the call",
      grpcCall(whoAmI, { headers: { "x-request-id": "mine" } }),
      { code: 0, headers: { "x-request-id": "mine" } },
    ],
  ]);

  it("pings in masses by a GOAWAY that says so", async () => {
    using pinging = new GrpcWire(service.grpcAddress);
    const { session } = pinging;
    const goaway = once(session, "goaway");
    await once(session, "connect");
    const pings = setInterval(() => !session.destroyed && session.ping(() => {}), 1);
    const [code, , data] = (await goaway) as [number, number, Buffer];
    clearInterval(pings);
    expect(code).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    expect(data.toString()).toBe("too_many_pings");
  });

  it("no such thing to pings that come with calls, as of those who measure their line", async () => {
    using pinging = new GrpcWire(service.grpcAddress);
    const { session } = pinging;
    for (let call = 0; call < 64; call++) {
      session.ping(() => {});
      expect(await pinging.send({ path: whoAmI, headers: authorized() })).toMatchObject({ code: 0 });
    }
  });
});

describe("Connect takes messages", () => {
  const gzip = { "content-encoding": "gzip" };
  const proto = { "content-type": "application/proto" };
  const streamed = { "content-type": "application/connect+json" };
  const ok = { status: 200, code: 0 };
  run([
    ["in JSON", connectCall(whoAmI, "{}"), ok],
    [
      "in JSON, with a charset",
      connectCall(whoAmI, "{}", { "content-type": "application/json; charset=utf-8" }),
      ok,
    ],
    ["in binary", connectCall(whoAmI, "", proto), ok],
    ["in JSON and gzip", connectCall(list, gzipSync('{"states":["DRAFT"]}'), gzip), ok],
    ["in binary and gzip", connectCall(whoAmI, gzipSync(""), { ...gzip, ...proto }), ok],
    ["by GET", rest("GET", `${whoAmI}?connect=v1&encoding=json&message=%7B%7D`), ok],
    ["in identity", connectCall(whoAmI, "{}", { "content-encoding": "identity" }), ok],
    [
      "in no compression that it does not know",
      connectCall(whoAmI, "{}", { "content-encoding": "br" }),
      { status: 501, code: 12, reason: "UNIMPLEMENTED" },
    ],
    ["in no gzip that is none", connectCall(whoAmI, "{}", gzip), invalid],
    ["in binary and no gzip that is none", connectCall(whoAmI, "aa", { ...gzip, ...proto }), invalid],
    [
      "of no more than 2 MiB, unpacked",
      connectCall(whoAmI, gzipSync(" ".repeat(3 * 1024 * 1024)), gzip),
      { status: 429, code: 8, reason: "MESSAGE_TOO_LARGE" },
    ],
    [
      "of no more than 2 MiB, in binary",
      connectCall(whoAmI, gzipSync(Buffer.alloc(3 * 1024 * 1024)), { ...gzip, ...proto }),
      { status: 429, code: 8, reason: "MESSAGE_TOO_LARGE" },
    ],
    ["with names that the contract does not have", connectCall(list, '{"newer":1}'), ok],
    [
      "with enum values that it has",
      connectCall(list, '{"states":["FIRMWARE_STATE_DRAFT", 2, "RELEASED"]}'),
      ok,
    ],
    [
      "with no word that an enum has not",
      connectCall(list, '{"states":["NOPE"]}'),
      { ...invalid, fields: ["states[0]"] },
    ],
    [
      "with no such word by GET",
      rest("GET", `${list}?connect=v1&encoding=json&message=${encodeURIComponent('{"states":["NOPE"]}')}`),
      { ...invalid, fields: ["states[0]"] },
    ],
    [
      "with no name twice",
      connectCall(list, '{"product":"a","product":"b"}'),
      { ...invalid, fields: ["product"] },
    ],
    [
      "with no field of another type",
      connectCall(list, '{"pageSize":"x"}'),
      { ...invalid, fields: ["pageSize"] },
    ],
    [
      "in streams, in JSON",
      connectCall(watch, framed(Buffer.from('{"id":"1"}')), streamed),
      { status: 200, code: 3, reason: "INVALID_REQUEST", fields: ["id"] },
    ],
    [
      "in streams, in gzip",
      connectCall(watch, framed(gzipSync('{"id":"1"}'), 1), {
        ...streamed,
        "connect-content-encoding": "gzip",
      }),
      { status: 200, code: 3, reason: "INVALID_REQUEST", fields: ["id"] },
    ],
    [
      "in streams, with no compression that the call does not name",
      connectCall(watch, framed(gzipSync('{"id":"1"}'), 1), streamed),
      { status: 200, code: 3, reason: "INVALID_REQUEST" },
    ],
    [
      "in streams, with no compression that it does not know",
      connectCall(watch, framed(Buffer.from("{}")), { ...streamed, "connect-content-encoding": "br" }),
      { status: 200, code: 12, reason: "UNIMPLEMENTED" },
    ],
  ]);
});

describe("gRPC-Web answers", () => {
  const web = { "content-type": "application/grpc-web+proto", "connect-protocol-version": "" };
  const empty = framed(new Uint8Array());
  run([
    ["a call", connectCall(whoAmI, empty, web), { status: 200, code: 0 }],
    [
      "a call of the short media type",
      connectCall(whoAmI, empty, { ...web, "content-type": "application/grpc-web" }),
      { status: 200, code: 0 },
    ],
    [
      "messages in JSON",
      connectCall(whoAmI, framed(Buffer.from("{}")), { ...web, "content-type": "application/grpc-web+json" }),
      { status: 200, code: 0 },
    ],
    [
      "an RPC that there is not",
      connectCall("/ota.v1.AccessService/Nothing", empty, web),
      { status: 200, code: 12, reason: "UNIMPLEMENTED" },
    ],
    [
      "whoever shows no credential",
      connectCall(whoAmI, empty, { ...web, authorization: "" }),
      { status: 200, code: 16, reason: "CREDENTIAL_MISSING" },
    ],
    [
      "bytes that are no message",
      connectCall(whoAmI, framed(Buffer.from("ff", "hex")), web),
      { status: 200, code: 3, reason: "INVALID_REQUEST" },
    ],
    [
      "a message in gzip",
      connectCall(whoAmI, framed(gzipSync(""), 1), { ...web, "grpc-encoding": "gzip" }),
      { status: 200, code: 0 },
    ],
    [
      "a compression that it does not know",
      connectCall(whoAmI, empty, { ...web, "grpc-encoding": "zstd" }),
      { status: 200, code: 12, reason: "UNIMPLEMENTED" },
    ],
    [
      "a time-out that is none",
      connectCall(whoAmI, empty, { ...web, "grpc-timeout": "soon" }),
      { status: 200, code: 3, reason: "INVALID_REQUEST" },
    ],
    [
      "a time-out of a month",
      connectCall(whoAmI, empty, { ...web, "grpc-timeout": "2592000S" }),
      { status: 200, code: 0 },
    ],
    [
      "a field that breaks its rule",
      connectCall("/ota.v1.FirmwareService/GetFirmware", framed(Buffer.from("0a0131", "hex")), web),
      { status: 200, code: 3, reason: "INVALID_REQUEST", fields: ["id"] },
    ],
    [
      "its text mode, with the media types that it speaks",
      connectCall(whoAmI, empty, { ...web, "content-type": "application/grpc-web-text" }),
      { status: 415, code: 3, reason: "INVALID_REQUEST" },
    ],
  ]);
});

describe("REST takes", () => {
  const ok = { status: 200, code: 0 };
  const of = (...fields: string[]) => ({ ...invalid, fields });
  const firmware = (body: string | Uint8Array, headers: Readonly<Record<string, string>> = {}) =>
    rest("POST", "/api/v1/firmware", { body, headers });
  const history = `/api/v1/heartbeat/${nobody}`;
  run([
    ["enum values without their prefix", rest("GET", "/api/v1/firmware?states=DRAFT&states=RELEASED"), ok],
    ["enum values with their prefix", rest("GET", "/api/v1/firmware?states=FIRMWARE_STATE_DRAFT"), ok],
    ["enum values by number", rest("GET", "/api/v1/firmware?states=1"), ok],
    ["no word that an enum has not", rest("GET", "/api/v1/firmware?states=NOPE"), of("states")],
    ["no number that an enum has not", rest("GET", "/api/v1/firmware?states=99"), of("states[0]")],
    ["names as the contract writes them", rest("GET", "/api/v1/firmware?page_size=1"), ok],
    ["names as JSON writes them", rest("GET", "/api/v1/firmware?pageSize=1"), ok],
    ["no name that there is not", rest("GET", "/api/v1/firmware?nope=1"), of("nope")],
    ["no two values of one field", rest("GET", "/api/v1/firmware?page_size=1&page_size=2"), of("page_size")],
    ["no text for a number", rest("GET", "/api/v1/firmware?page_size=x"), of("page_size")],
    ["no number with a fraction", rest("GET", "/api/v1/firmware?pageSize=1.5"), of("pageSize")],
    ["a whole number written with a fraction", rest("GET", "/api/v1/firmware?pageSize=1.0"), ok],
    ["no number in hexadecimal", rest("GET", "/api/v1/firmware?pageSize=0x1"), of("pageSize")],
    ["no number with a space", rest("GET", "/api/v1/firmware?pageSize=%201"), of("pageSize")],
    ["no number beyond its type", rest("GET", "/api/v1/firmware?pageSize=2147483648"), of("pageSize")],
    ["no other word for true", rest("GET", "/api/v1/firmware?show_deleted=yes"), of("show_deleted")],
    ["no time that is none", rest("GET", "/api/v1/audit?start_time=yesterday"), of("start_time")],
    ["no broken percent-encoding", rest("GET", "/api/v1/firmware?product=%zz"), invalid],
    ["no percent-encoding that is not UTF-8", rest("GET", "/api/v1/firmware?product=%ff"), invalid],
    ["no NUL", rest("GET", "/api/v1/firmware?product=%00"), of("product")],
    ["a field mask as the contract writes it", rest("GET", `${history}?read_mask=sequence,boot_id`), ok],
    ["a field mask as JSON writes it", rest("GET", `${history}?readMask=sequence,bootId`), ok],
    [
      "a verb whose colon is percent-encoded",
      rest("POST", `/api/v1/firmware/${nobody}%3Arelease`, { body: "{}" }),
      { status: 404, code: 5, reason: "NOT_FOUND" },
    ],
    [
      "a verb",
      rest("POST", `/api/v1/firmware/${nobody}:release`, { body: "{}" }),
      { status: 404, code: 5, reason: "NOT_FOUND" },
    ],
    ["no name twice in one object", firmware('{"product":"a","product":"b"}'), of("product")],
    ["no field under both of its names", firmware('{"sizeBytes":1,"size_bytes":2}'), of("size_bytes")],
    ["no word that an enum has not, in a body", firmware('{"kind":"NOPE"}'), of("kind")],
    ["no text where a list belongs", firmware('{"deviceTypes":"a"}'), of("deviceTypes")],
    ["no item of another type", firmware('{"deviceTypes":["a",1]}'), of("deviceTypes[1]")],
    ["no null in a list", firmware('{"deviceTypes":[null]}'), of("deviceTypes[0]")],
    ["no name that there is not, in a body", firmware('{"nope":1}'), of("nope")],
    ["no number in hexadecimal, in a body", firmware('{"sizeBytes":"0x1"}'), of("sizeBytes")],
    ["no number with zeros before it", firmware('{"sizeBytes":"01"}'), of("sizeBytes")],
    ["no negative number where none belongs", firmware('{"sizeBytes":-1}'), of("sizeBytes")],
    ["no list for a body", firmware("[]"), invalid],
    ["no text that is not UTF-8", firmware(Buffer.from("7b2261223a22ff227d", "hex")), invalid],
    ["no JSON that ends early", firmware('{"product":'), invalid],
    ["a body in gzip", firmware(gzipSync('{"kind":"NOPE"}'), { "content-encoding": "gzip" }), of("kind")],
    ["no body that is no gzip", firmware("{}", { "content-encoding": "gzip" }), invalid],
    [
      "no body that unpacks to more than a message may have",
      firmware(gzipSync(" ".repeat(4 * 1024 * 1024)), { "content-encoding": "gzip" }),
      { status: 413, code: 8, reason: "MESSAGE_TOO_LARGE" },
    ],
    [
      "no body in another encoding",
      firmware("{}", { "content-encoding": "br" }),
      { status: 415, code: 3, reason: "INVALID_REQUEST", headers: { "accept-encoding": "identity, gzip" } },
    ],
    [
      "no file in an encoding",
      rest("POST", `/api/v1/firmware/${nobody}/attachments?fileName=a`, {
        body: "{}",
        headers: { "content-encoding": "gzip" },
      }),
      { status: 415, code: 3, reason: "INVALID_REQUEST", headers: { "accept-encoding": "identity" } },
    ],
  ]);
});
