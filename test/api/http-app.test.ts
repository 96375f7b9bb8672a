import { createHash, randomBytes } from "node:crypto";
import { request } from "node:http";
import { Readable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { downloadRoute, type OpenDownload } from "../../src/api/download/download-route.ts";
import type { RawRoute } from "../../src/api/http/raw-route.ts";
import type { ReadinessCheck } from "../../src/api/readiness.ts";
import { OtaError } from "../../src/errors.ts";
import { eventually } from "../support/eventually.ts";
import { type Doors, deviceId, openDoors, otherDeviceId } from "./doors.ts";

const content = randomBytes(1_000_000);
const sha256 = createHash("sha256").update(content).digest("hex");
const etag = `"${sha256}"`;

let doors: Doors;
afterEach(() => doors[Symbol.asyncDispose]());

async function open(http: { readiness?: ReadinessCheck[]; rawRoutes?: RawRoute[]; corsOrigins?: string[] }) {
  doors = await openDoors({ services: [AccessService], endpoints: [], http });
}

async function openDownload(read?: OpenDownload["read"]) {
  const opener = async (updateId: string): Promise<OpenDownload> => {
    if (updateId !== deviceId) throw new OtaError("permission_denied", "NOT_OFFERED", "not offered");
    return {
      sizeBytes: content.length,
      sha256,
      elsewhere: async () => undefined,
      read: read ?? ((offset, length) => Readable.from(pieces(content.subarray(offset, offset + length)))),
    };
  };
  await open({ rawRoutes: [downloadRoute(opener)] });
}

function* pieces(bytes: Buffer) {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

function download(headers: Record<string, string> = {}, method = "GET", updateId = deviceId) {
  return fetch(`${doors.httpUrl}/api/v1/updates/${updateId}/content`, {
    method,
    headers: { authorization: "Bearer device", ...headers },
  });
}

describe("the download over HTTP", () => {
  it("sends the whole content", async () => {
    await openDownload();
    const response = await download({ "accept-encoding": "gzip" });
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      etag,
      "accept-ranges": "bytes",
      "content-length": String(content.length),
      "x-content-type-options": "nosniff",
      "x-request-id": expect.any(String),
    });
    expect(response.headers.has("content-encoding")).toBe(false);
    expect(content.equals(await response.bytes())).toBe(true);
    await eventually(async () =>
      expect(await doors.metrics.text()).toContain(
        'method="/api/v1/updates/:updateId/content",door="http",code="ok"} 1',
      ),
    );
  });

  it.each([
    ["bytes=0-9", 0, 10],
    ["bytes=999990-", 999_990, 10],
    ["bytes=-7", 999_993, 7],
    ["bytes=999990-2000000", 999_990, 10],
  ])("sends the range %s", async (range, offset, length) => {
    await openDownload();
    const response = await download({ range });
    expect(response.status).toBe(206);
    expect(response.headers.get("content-range")).toBe(`bytes ${offset}-${offset + length - 1}/1000000`);
    expect(content.subarray(offset, offset + length).equals(await response.bytes())).toBe(true);
  });

  it("refuses a range past the end", async () => {
    await openDownload();
    const response = await download({ range: "bytes=1000000-" });
    expect(response.status).toBe(416);
    expect(response.headers.get("content-range")).toBe("bytes */1000000");
    expect(await response.json()).toMatchObject({ code: 11 });
  });

  it("sends the whole when the content is another than the range was meant for", async () => {
    await openDownload();
    expect((await download({ range: "bytes=0-9", "if-range": '"other"' })).status).toBe(200);
    expect((await download({ range: "bytes=0-9", "if-range": etag })).status).toBe(206);
    expect((await download({ "if-none-match": etag })).status).toBe(304);
  });

  it("answers HEAD, and refuses what was not offered and who may not ask", async () => {
    await openDownload();
    const head = await download({}, "HEAD");
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([
      200,
      "1000000",
      "",
    ]);
    expect((await download({}, "GET", otherDeviceId)).status).toBe(403);
    expect((await download({ authorization: "Bearer viewer" })).status).toBe(403);
    expect((await download({ authorization: "" })).status).toBe(401);
  });

  it("breaks the connection when the store fails half-way", async () => {
    await openDownload(() =>
      Readable.from(
        (function* () {
          yield content.subarray(0, 65_536);
          throw new OtaError("data_loss", "STORED_OBJECT_CORRUPT", "corrupt");
        })(),
      ),
    );
    const response = await download();
    await expect(response.bytes()).rejects.toThrow();
    expect(await doors.metrics.text()).toContain('door="http",code="data_loss"} 1');
  });

  it("stops reading the store when the client goes away", async () => {
    let read = 0;
    let closed = false;
    await openDownload(() => {
      const endless = new Readable({
        read() {
          read++;
          this.push(Buffer.alloc(65_536));
        },
        destroy(error, done) {
          closed = true;
          done(error);
        },
      });
      return endless;
    });
    const call = request(`${doors.httpUrl}/api/v1/updates/${deviceId}/content`, {
      headers: { authorization: "Bearer device" },
    });
    call.on("error", () => {});
    call.on("response", (response) => {
      response.on("error", () => {});
      response.once("data", () => call.destroy());
    });
    call.end();
    await eventually(() => expect(closed).toBe(true));
    expect(read).toBeGreaterThan(0);
    await eventually(async () =>
      expect(await doors.metrics.text()).toContain('door="http",code="cancelled"} 1'),
    );
  });
});

describe("health", () => {
  it("is ready when every check passes, and says which one does not", async () => {
    const faults: Error[] = [];
    const database = {
      name: "database",
      check: async () => (faults.length === 0 ? undefined : Promise.reject(faults[0])),
    };
    await open({ readiness: [database, { name: "store", check: async () => {} }] });
    const ready = await fetch(`${doors.httpUrl}/health/ready`);
    expect([ready.status, await ready.json()]).toEqual([
      200,
      { status: "ready", checks: { database: "ok", store: "ok" } },
    ]);
    faults.push(new Error("connect ECONNREFUSED 10.0.0.7:5432"));
    await eventually(async () => {
      const unready = await fetch(`${doors.httpUrl}/health/`);
      expect([unready.status, await unready.json()]).toEqual([
        503,
        {
          status: "not ready",
          checks: { database: expect.stringMatching(/^failed \(since 2/), store: "ok" },
        },
      ]);
    });
    expect((await fetch(`${doors.httpUrl}/health/live`)).status).toBe(200);
  });

  it("does not wait for a check that hangs", async () => {
    await open({ readiness: [{ name: "hung", check: () => new Promise(() => {}) }] });
    const response = await fetch(`${doors.httpUrl}/health/ready`);
    expect([response.status, await response.json()]).toEqual([
      503,
      { status: "not ready", checks: { hung: expect.stringMatching(/^no answer in time \(since 2/) } },
    ]);
  });

  it("comes with metrics", async () => {
    await open({});
    const response = await fetch(`${doors.httpUrl}/metrics`);
    expect(response.headers.get("content-type")).toContain("text/plain");
    expect(await response.text()).toContain("device_ota_ingest_queue_rows 0");
  });
});

describe("pages of other origins", () => {
  const preflight = (origin: string) =>
    fetch(`${doors.httpUrl}/ota.v1.AccessService/WhoAmI`, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST" },
    });

  it("may call only if they are listed", async () => {
    await open({ corsOrigins: ["https://console.example"] });
    const listed = await preflight("https://console.example");
    expect(listed.status).toBe(204);
    expect(listed.headers.get("access-control-allow-origin")).toBe("https://console.example");
    expect(listed.headers.get("access-control-allow-headers")).toContain("authorization");
    expect((await preflight("https://evil.example")).headers.has("access-control-allow-origin")).toBe(false);
  });

  it("may not call by default", async () => {
    await open({});
    expect((await preflight("https://console.example")).headers.has("access-control-allow-origin")).toBe(
      false,
    );
  });

  it("are asked to send a preflight that is one", async () => {
    await open({ corsOrigins: ["https://console.example"] });
    const listed = await fetch(`${doors.httpUrl}/api/v1/access/whoami`, {
      method: "OPTIONS",
      headers: { origin: "https://console.example" },
    });
    expect(listed.status).toBe(400);
  });
});

describe("what browsers are told", () => {
  it.each(["/health/live", "/metrics", "/nowhere", "/api/v1/nowhere", "/ota.v1.AccessService/WhoAmI"])(
    "of an answer at %s is to trust nothing but this origin",
    async (path) => {
      await open({});
      const { headers } = await fetch(doors.httpUrl + path);
      expect(Object.fromEntries(headers)).toMatchObject({
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "content-security-policy":
          "default-src 'self';style-src 'self';img-src 'self' data:;frame-ancestors 'none';base-uri 'none';form-action 'none';object-src 'none'",
      });
      // Not ours to promise: other services of the host may have no TLS.
      expect(headers.has("strict-transport-security")).toBe(false);
    },
  );
});
