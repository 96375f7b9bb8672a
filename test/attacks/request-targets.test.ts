import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { unary } from "../../src/api/pipeline/endpoint.ts";
import { type Doors, openDoors } from "../api/doors.ts";

/** Requests that a proxy and the service could take for two different ones (RFC 9112, section 3.2, and 11.2). */

let doors: Doors;

beforeAll(async () => {
  const { whoAmI } = AccessService.method;
  const access = { role: "viewer" as const, device: true as const };
  doors = await openDoors({
    services: [AccessService],
    endpoints: [
      unary(whoAmI, { access, rate: "operator" }, async (_, { identity }) => ({ actor: identity.kind })),
    ],
  });
});

afterAll(() => doors[Symbol.asyncDispose]());

const token = "authorization: Bearer viewer";
const connectPath = `/${AccessService.typeName}/${AccessService.method.whoAmI.name}`;
const restPath = "/api/v1/access/whoami";

/** Sends a request as it is written, and reads what comes until the service ends the connection. */
async function answersTo(...lines: string[]): Promise<string> {
  const { hostname, port } = new URL(doors.httpUrl);
  const socket = connect(Number(port), hostname);
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  return await text(socket);
}

function statusesIn(answers: string): string[] {
  return [...answers.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, status]) => status ?? "");
}

describe("a request that names", () => {
  const paths = ["/health/live", restPath, connectPath, "/", "/nothing/at/all"];

  it.each(paths)("two hosts is refused, and nothing behind it is read: %s", async (path) => {
    const next = ["", `GET /health/live HTTP/1.1`, "host: a"];
    const answers = await answersTo(`GET ${path} HTTP/1.1`, "Host: a", token, "host: b", ...next);
    expect(statusesIn(answers)).toEqual(["400"]);
    expect(answers).toContain("INVALID_REQUEST");
    expect(answers).toContain("2 host headers");
  });

  it("the same host twice is refused as well", async () => {
    expect(statusesIn(await answersTo("GET /health/live HTTP/1.1", "host: a", "host: a"))).toEqual(["400"]);
  });

  it.each([
    "a b",
    "user@a",
    "a/b",
    "a,b:c",
    "http://a",
    "a:port",
    "a:70000",
    "256.256.256.256",
    "a%zz",
    "[::1",
    "a?b",
  ])("what is no host, %s, is refused", async (host) => {
    expect(statusesIn(await answersTo("GET /health/live HTTP/1.1", `host: ${host}`))).toEqual(["400"]);
  });

  it.each(["a", "a:80", "a.example.com:8080", "127.0.0.1:1", "[::1]:8080", "a:", ""])(
    "the host %s is served",
    async (host) => {
      const answers = await answersTo("GET /health/live HTTP/1.1", `host: ${host}`, "connection: close");
      expect(statusesIn(answers)).toEqual(["200"]);
    },
  );

  it("no host is refused", async () => {
    expect(statusesIn(await answersTo("GET /health/live HTTP/1.1", "connection: close"))).toEqual(["400"]);
  });
});

describe("a body of which two readers could see two ends", () => {
  const next = "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";

  it.each([
    ["a length and chunks", ["content-length: 6", "transfer-encoding: chunked"], `0\r\n\r\n${next}`],
    ["two lengths", ["content-length: 6", "content-length: 5"], "123456"],
    ["a list of lengths", ["content-length: 6, 5"], "123456"],
    ["chunks that are not the last coding", ["transfer-encoding: chunked, identity"], `0\r\n\r\n${next}`],
    ["an unknown coding", ["transfer-encoding: xchunked"], `0\r\n\r\n${next}`],
    ["a blank before the colon", ["transfer-encoding : chunked"], `0\r\n\r\n${next}`],
    ["a folded header", ["a: b\r\n transfer-encoding: chunked"], `0\r\n\r\n${next}`],
    ["a header behind a bare CR", ["a: b\rtransfer-encoding: chunked"], `0\r\n\r\n${next}`],
    ["a negative chunk", ["transfer-encoding: chunked"], `-1\r\n\r\n${next}`],
    [
      "a chunk that is larger than any number",
      ["transfer-encoding: chunked"],
      `FFFFFFFFFFFFFFFFF\r\n${next}`,
    ],
    ["a chunk extension with a bare LF", ["transfer-encoding: chunked"], `2;\nxx\r\n{}\r\n0\r\n\r\n${next}`],
  ])("is refused, and nothing behind it is read: %s", async (_, headers, body) => {
    const json = "content-type: application/json";
    const lines = [`POST ${restPath} HTTP/1.1`, "host: a", token, json, ...headers, "", body];
    const statuses = statusesIn(await answersTo(...lines));
    expect(statuses).not.toContain("200");
    expect(statuses.at(-1)).toBe("400");
  });
});

describe("an absolute target", () => {
  it.each(["http://ota.example.com", "https://ota.example.com:8080", "HTTP://[::1]:80"])(
    "after %s is served like its path",
    async (origin) => {
      const close = ["host: other.example.com", token, "connection: close"];
      const rest = await answersTo(`GET ${origin}${restPath}?x=http://a/b HTTP/1.1`, ...close);
      // The path is found; that there is no parameter `x` is what the door says of it.
      expect(rest).toContain("INVALID_REQUEST");
      expect(await answersTo(`GET ${origin}${restPath} HTTP/1.1`, ...close)).toContain('"actor":"operator"');
      const json = [
        "content-type: application/json",
        "connect-protocol-version: 1",
        "content-length: 2",
        "",
        "{}",
      ];
      const byConnect = await answersTo(`POST ${origin}${connectPath} HTTP/1.1`, ...close, ...json);
      expect(byConnect).toContain('"actor":"operator"');
      expect(statusesIn(await answersTo(`GET ${origin}/health/live HTTP/1.1`, ...close))).toEqual(["200"]);
      expect(statusesIn(await answersTo(`GET ${origin}/api/v1/nothing HTTP/1.1`, ...close))).toEqual(["404"]);
    },
  );

  it("opens nothing that its path does not", async () => {
    const answers = await answersTo(`GET http://a${restPath} HTTP/1.1`, "host: a", "connection: close");
    expect(statusesIn(answers)).toEqual(["401"]);
  });

  it.each([
    `http://viewer@a${restPath}`,
    `http://${restPath}`,
    `ftp://a${restPath}`,
    `file://${restPath}`,
    "http:api/v1/access/whoami",
    "api/v1/access/whoami",
  ])("that is no URL of a host is refused: %s", async (target) => {
    const answers = await answersTo(`GET ${target} HTTP/1.1`, "host: a", token, "connection: close");
    expect(statusesIn(answers)).toEqual(["400"]);
  });
});
