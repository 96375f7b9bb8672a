import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { BlockList } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { ConsoleSessions } from "../../src/api/console/console-session.ts";
import { sessionRoutes } from "../../src/api/console/console-session-routes.ts";
import { unary } from "../../src/api/pipeline/endpoint.ts";
import { OtaError } from "../../src/errors.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { type Doors, openDoors } from "./doors.ts";

const json = { "content-type": "application/json" };
const fromConsole = { "x-ota-console": "1" };
const whoAmIPath = "/ota.v1.AccessService/WhoAmI";

let doors: Doors;
let folder: string;
let clock: FakeClock;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "device-ota-console-"));
  clock = new FakeClock();
});

afterEach(async () => {
  await doors[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** Where the test's own calls come from, as the address of a proxy. */
function loopback(): BlockList {
  const list = new BlockList();
  list.addAddress("127.0.0.1");
  return list;
}

function sessionsUnder(secret: Buffer): ConsoleSessions {
  const ended = new Set<string>();
  return new ConsoleSessions({
    secret,
    clock,
    ended: {
      has: (id) => ended.has(id),
      end: async (id) => void ended.add(id),
      onChange: () => {},
    },
  });
}

async function open(options: { behindProxy?: boolean; signIns?: number } = {}) {
  const sessions = sessionsUnder(Buffer.alloc(32, 7));
  doors = await openDoors({
    services: [AccessService],
    endpoints: [
      unary(
        AccessService.method.whoAmI,
        { access: { role: "viewer" }, rate: "operator" },
        async (_, { identity }) => ({ actor: identity.kind === "operator" ? identity.name : identity.kind }),
      ),
    ],
    ...(options.signIns === undefined
      ? {}
      : { rateLimits: { sign_in: { calls: options.signIns, periodMs: 3_600_000 } } }),
    identifier: (tokens) => sessions.identifier(tokens),
    http: {
      ...(options.behindProxy === true ? { trustedProxies: loopback() } : {}),
      console: { sessions, folder },
      rawRoutes: sessionRoutes(sessions, (token) => {
        if (token === "device") return { kind: "device", deviceId: "d", credentialId: "c" };
        if (token !== "viewer") throw new OtaError("unauthenticated", "CREDENTIAL_INVALID", "unknown");
        return { kind: "operator", tokenId: "v", name: "viewer", role: "viewer" };
      }),
    },
  });
}

function signIn(token: string, headers: Record<string, string> = fromConsole) {
  return fetch(`${doors.httpUrl}/session`, {
    method: "POST",
    headers: { ...json, ...headers },
    body: JSON.stringify({ token }),
  });
}

async function cookieOf(response: Response): Promise<string> {
  expect(response.status).toBe(200);
  return response.headers.get("set-cookie")?.split(";")[0] ?? "";
}

function whoAmI(headers: Record<string, string>, path = whoAmIPath) {
  const isConnect = path === whoAmIPath;
  return fetch(doors.httpUrl + path, {
    method: isConnect ? "POST" : "GET",
    headers: { ...(isConnect ? { ...json, "connect-protocol-version": "1" } : {}), ...headers },
    ...(isConnect ? { body: "{}" } : {}),
  });
}

describe("a session of the console", () => {
  it.each([whoAmIPath, "/api/v1/access/whoami"])("is a credential at %s", async (path) => {
    await open();
    const cookie = await cookieOf(await signIn("viewer"));
    const response = await whoAmI({ cookie, ...fromConsole }, path);
    expect(await response.json()).toMatchObject({ actor: "viewer" });
  });

  it("is kept from scripts, from other sites, and under TLS from plain HTTP and from other hosts of the domain", async () => {
    await open({ behindProxy: true });
    const plain = await signIn("viewer");
    expect(plain.headers.get("set-cookie")).toMatch(
      /^ota_session=[\w-]+; Max-Age=43200; Path=\/; HttpOnly; SameSite=Strict$/,
    );
    const secure = await signIn("viewer", { ...fromConsole, "x-forwarded-proto": "https" });
    expect(secure.headers.get("set-cookie")).toMatch(
      /^__Host-ota_session=.*; HttpOnly; Secure; SameSite=Strict$/,
    );
  });

  it.each([
    ["a request without the console's header", {}],
    ["a script of another origin", { ...fromConsole, origin: "https://evil.example" }],
    ["a sandboxed page", { ...fromConsole, origin: "null" }],
    ["another site, as the browser says", { ...fromConsole, "sec-fetch-site": "cross-site" }],
    ["another host of the same domain", { ...fromConsole, "sec-fetch-site": "same-site" }],
  ])("is no credential for %s", async (_, headers: Record<string, string>) => {
    await open();
    const cookie = await cookieOf(await signIn("viewer"));
    for (const path of [whoAmIPath, "/api/v1/access/whoami"]) {
      const response = await whoAmIRaw({ cookie, ...headers }, path);
      expect(response).toBe(401);
    }
    expect(await rawStatus("POST", "/session", { ...json, ...headers }, '{"token":"viewer"}')).toBe(403);
    expect(await rawStatus("DELETE", "/session", { cookie, ...headers })).toBe(403);
  });

  it("takes the service's own origin for what it is", async () => {
    await open();
    const cookie = await cookieOf(await signIn("viewer"));
    const own = { ...fromConsole, origin: doors.httpUrl, "sec-fetch-site": "same-origin" };
    expect(await whoAmIRaw({ cookie, ...own })).toBe(200);
  });

  it("ends after twelve hours", async () => {
    await open();
    const cookie = await cookieOf(await signIn("viewer"));
    clock.advance(12 * 3_600_000 - 1);
    expect((await whoAmI({ cookie, ...fromConsole })).status).toBe(200);
    clock.advance(1);
    expect((await whoAmI({ cookie, ...fromConsole })).status).toBe(401);
  });

  it("cannot be made or changed by anybody else", async () => {
    await open();
    const cookie = await cookieOf(await signIn("viewer"));
    const flipped = cookie.slice(0, -2) + (cookie.endsWith("AA") ? "BB" : "AA");
    for (const forged of [flipped, "ota_session=", "ota_session=AAAA", `ota_session=${"A".repeat(2_000)}`]) {
      expect((await whoAmI({ cookie: forged, ...fromConsole })).status).toBe(401);
    }
    const other = sessionsUnder(Buffer.alloc(32, 8));
    const foreign = other.open({ protocol: "http" } as never, "viewer").setCookie.split(";")[0] ?? "";
    expect((await whoAmI({ cookie: foreign, ...fromConsole })).status).toBe(401);
  });

  it("does not stand in the way of a token that is sent by itself", async () => {
    await open();
    const cookie = await cookieOf(await signIn("viewer"));
    const response = await whoAmI({ cookie, ...fromConsole, authorization: "Bearer admin" });
    expect(await response.json()).toMatchObject({ actor: "admin" });
  });

  it("is removed from the browser when somebody signs out, and is over wherever else it is", async () => {
    await open();
    const cookie = await cookieOf(await signIn("viewer"));
    const other = await cookieOf(await signIn("viewer"));
    const response = await fetch(`${doors.httpUrl}/session`, {
      method: "DELETE",
      headers: { ...fromConsole, cookie },
    });
    expect(response.status).toBe(200);
    expect(response.headers.get("set-cookie")).toContain("ota_session=; Max-Age=0");
    expect((await whoAmI({ cookie, ...fromConsole })).status).toBe(401);
    expect((await whoAmI({ cookie: other, ...fromConsole })).status).toBe(200);
  });

  it("is removed from the browser also where there was none", async () => {
    await open();
    const response = await fetch(`${doors.httpUrl}/session`, { method: "DELETE", headers: fromConsole });
    expect(response.status).toBe(200);
    expect(response.headers.get("set-cookie")).toContain("ota_session=; Max-Age=0");
  });
});

describe("signing in", () => {
  it.each([
    ["a token that is unknown", "nobody", 401],
    ["a device's token", "device", 403],
    ["no token", "", 400],
    ["what cannot be a token", "two words", 400],
  ])("refuses %s", async (_, token, status) => {
    await open();
    const response = await signIn(token);
    expect(response.status).toBe(status);
    expect(response.headers.has("set-cookie")).toBe(false);
  });

  it("can only be tried so often", async () => {
    await open({ signIns: 2 });
    expect((await signIn("nobody")).status).toBe(401);
    expect((await signIn("nobody")).status).toBe(401);
    const third = await signIn("viewer");
    expect(third.status).toBe(429);
    expect(third.headers.has("retry-after")).toBe(true);
  });

  it.each([
    ["whatever addresses the caller makes up", false, (each: number) => `198.51.100.${each}`],
    ["also where the caller makes up the first", true, (each: number) => `198.51.100.${each}, 203.0.113.9`],
  ])("counts by the address that a trusted proxy saw, %s", async (_, behindProxy, forwarded) => {
    await open({ signIns: 2, behindProxy });
    const statuses: number[] = [];
    for (let each = 1; each <= 4; each++) {
      const headers = { ...fromConsole, "x-forwarded-for": forwarded(each) };
      statuses.push((await signIn("nobody", headers)).status);
    }
    expect(statuses).toEqual([401, 401, 429, 429]);
  });
});

describe("the console's files", () => {
  const browser = { accept: "text/html,application/xhtml+xml" };

  it("are the index page at / and at every deep link, asked for anew each time", async () => {
    await open();
    await writeFile(join(folder, "index.html"), "<title>console</title>");
    for (const path of ["/", "/devices/1?tab=errors"]) {
      const response = await fetch(doors.httpUrl + path, { headers: browser });
      expect(await response.text()).toBe("<title>console</title>");
      expect(response.headers.get("cache-control")).toBe("no-cache");
      expect(response.headers.get("content-security-policy")).toContain("default-src 'self'");
      expect(response.headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
    }
  });

  it("allow style elements by a nonce that is another one each time, and no others", async () => {
    await open();
    await writeFile(join(folder, "index.html"), '<meta nonce="CSP_NONCE"><style nonce="CSP_NONCE"></style>');
    const nonces = new Set<string>();
    for (let n = 0; n < 2; n++) {
      const response = await fetch(`${doors.httpUrl}/`, { headers: browser });
      const policy = response.headers.get("content-security-policy") ?? "";
      const nonce = /style-src 'self' 'nonce-([\w-]{22})';/.exec(policy)?.[1] ?? "";
      expect(policy).not.toContain("unsafe");
      expect(await response.text()).toBe(`<meta nonce="${nonce}"><style nonce="${nonce}"></style>`);
      nonces.add(nonce);
    }
    expect(nonces.size).toBe(2);
    const other = await fetch(`${doors.httpUrl}/health/live`);
    expect(other.headers.get("content-security-policy")).toContain("style-src 'self';");
  });

  it("do not answer for the API, for services and for programs", async () => {
    await open();
    await writeFile(join(folder, "index.html"), "<title>console</title>");
    for (const path of [
      "/api/v1/nothing",
      "/ota.v1.AccessService/Nothing",
      "/assets/none.js",
      "/metrics/x",
    ]) {
      const response = await fetch(doors.httpUrl + path, { headers: browser });
      expect(response.status).toBe(404);
    }
    expect((await fetch(`${doors.httpUrl}/devices`)).status).toBe(404);
  });

  it("say how to build them when they are not built", async () => {
    await open();
    const response = await fetch(doors.httpUrl, { headers: browser });
    expect(response.status).toBe(503);
    expect(await response.text()).toContain("make console");
  });
});

async function whoAmIRaw(headers: Record<string, string>, path = whoAmIPath): Promise<number> {
  return path === whoAmIPath
    ? await rawStatus("POST", path, { ...json, "connect-protocol-version": "1", ...headers }, "{}")
    : await rawStatus("GET", path, headers);
}

/** `fetch` does not let a caller say where a request comes from. */
async function rawStatus(
  method: string,
  path: string,
  headers: Record<string, string>,
  body = "",
): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const call = request(doors.httpUrl + path, { method, headers }, (response) => {
    response.resume();
    response.once("end", () => resolve(response.statusCode ?? 0));
  });
  call.once("error", reject);
  call.end(body);
  return await promise;
}
