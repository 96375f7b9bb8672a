import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceSchema } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { unary } from "../../src/api/pipeline/endpoint.ts";
import { OtaError } from "../../src/errors.ts";
import { type Doors, deviceId, openDoors, otherDeviceId } from "./doors.ts";

const viewer = { access: { role: "viewer" }, rate: "operator" } as const;
const seen: unknown[] = [];

let doors: Doors;
beforeEach(async () => {
  seen.length = 0;
  const record = async (request: object) => {
    seen.push(request);
    return {};
  };
  doors = await openDoors({
    services: [AccessService, DeviceService, HeartbeatService, RolloutService],
    endpoints: [
      unary(
        DeviceService.method.getDevice,
        { access: { role: "viewer", device: ({ id }) => id }, rate: "device" },
        async ({ id }) => ({
          device: create(DeviceSchema, { id, createTime: timestampFromDate(new Date(0)) }),
        }),
      ),
      unary(DeviceService.method.getDeviceStatusOverview, viewer, async () => ({ totalCount: 3n })),
      unary(DeviceService.method.listDevices, viewer, record),
      unary(DeviceService.method.updateDevice, viewer, record),
      unary(DeviceService.method.retireDevice, viewer, record),
      unary(HeartbeatService.method.listHeartbeats, viewer, record),
      unary(RolloutService.method.listRollouts, viewer, record),
      unary(RolloutService.method.listDeviceUpdates, viewer, record),
      unary(AccessService.method.createToken, viewer, record),
      unary(AccessService.method.revokeSigningKey, viewer, record),
      unary(RolloutService.method.startRollout, viewer, async () => {
        throw new OtaError("failed_precondition", "ILLEGAL_TRANSITION", "no", {
          metadata: { state: "PAUSED" },
        });
      }),
      unary(RolloutService.method.pauseRollout, viewer, async () => {
        throw new OtaError("unavailable", "DATABASE_UNAVAILABLE", "away", { retryAfterMs: 1_200 });
      }),
    ],
  });
});
afterEach(() => doors[Symbol.asyncDispose]());

async function send(
  method: string,
  path: string,
  options: { body?: string; type?: string; token?: string } = {},
) {
  const { body, type = "application/json", token = "viewer" } = options;
  const response = await fetch(doors.httpUrl + path, {
    method,
    headers: {
      ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": type }),
    },
    ...(body === undefined ? {} : { body }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    json: text === "" ? undefined : JSON.parse(text),
  };
}

function reasonOf(json: { details: Record<string, unknown>[] }): unknown {
  return json.details.find((detail) => detail["@type"] === "type.googleapis.com/google.rpc.ErrorInfo")?.[
    "reason"
  ];
}

describe("paths", () => {
  it("binds a variable, answers with JSON and the request id", async () => {
    const { status, headers, json } = await send("GET", `/api/v1/devices/${deviceId}`);
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    expect(json.device).toMatchObject({ id: deviceId, createTime: "1970-01-01T00:00:00Z", groups: [] });
  });

  it("prefers a literal to a variable", async () => {
    expect((await send("GET", "/api/v1/devices/status")).json.totalCount).toBe("3");
  });

  it("finds custom verbs and every binding of a method", async () => {
    expect((await send("POST", `/api/v1/devices/${deviceId}:retire`, { body: "{}" })).status).toBe(200);
    expect((await send("GET", `/api/v1/rollouts/${deviceId}/deviceUpdates`)).status).toBe(200);
    expect((await send("GET", `/api/v1/deviceUpdates?device_id=${deviceId}`)).status).toBe(200);
    expect(seen).toMatchObject([{ id: deviceId }, { rolloutId: deviceId }, { deviceId }]);
  });

  it("decodes a variable wholly", async () => {
    await send("POST", "/api/v1/access/signingKeys/a%2Fb%20c:revoke", { body: "{}" });
    expect(seen).toMatchObject([{ id: "a/b c" }]);
    expect((await send("POST", "/api/v1/access/signingKeys/%E0%A4%A:revoke")).status).toBe(400);
  });

  it("answers what does not exist with google.rpc.Status", async () => {
    const missing = await send("GET", "/api/v1/nothing");
    expect(missing).toMatchObject({ status: 404, json: { code: 5 } });
    expect(reasonOf(missing.json)).toBe("NOT_FOUND");
    const wrong = await send("DELETE", "/api/v1/devices");
    expect(wrong.status).toBe(405);
    expect(wrong.headers.get("allow")).toBe("GET, POST");
  });

  it("answers HEAD like GET without a body", async () => {
    expect(await send("HEAD", `/api/v1/devices/${deviceId}`)).toMatchObject({ status: 200, json: undefined });
  });
});

describe("queries", () => {
  it("take both spellings, repeated values, enums by name and by number", async () => {
    await send("GET", "/api/v1/rollouts?pageSize=7&page_token=x&states=ROLLOUT_STATE_PAUSED&states=4");
    expect(seen).toMatchObject([{ pageSize: 7, pageToken: "x", states: [expect.any(Number), 4] }]);
  });

  it("take times", async () => {
    await send("GET", `/api/v1/heartbeat/${deviceId}?start_time=2026-01-02T03:04:05Z`);
    expect(seen).toMatchObject([{ deviceId, startTime: { seconds: 1767323045n } }]);
  });

  it.each([
    ["/api/v1/rollouts?pagesize=7", "pagesize"],
    ["/api/v1/rollouts?page_size=x", "page_size"],
    ["/api/v1/rollouts?page_size=1&page_size=2", "page_size"],
    ["/api/v1/rollouts?states=NO_SUCH", "states"],
    [`/api/v1/heartbeat/${deviceId}?device_id=${otherDeviceId}`, "device_id"],
  ])("%s is refused", async (path, field) => {
    const { status, json } = await send("GET", path);
    expect(status).toBe(400);
    expect(json.details[1].fieldViolations[0].field).toBe(field);
    expect(seen).toEqual([]);
  });

  it("are refused beside a body that holds the whole request", async () => {
    expect((await send("POST", "/api/v1/access/tokens?name=x", { body: "{}" })).status).toBe(400);
  });
});

describe("bodies", () => {
  it("are read by the JSON mapping, under either name; the path wins", async () => {
    const body = JSON.stringify({ display_name: "Attic", id: otherDeviceId });
    expect((await send("PATCH", `/api/v1/devices/${deviceId}`, { body })).status).toBe(200);
    expect(seen).toMatchObject([{ id: deviceId, displayName: "Attic" }]);
  });

  it("may hold enums by name and times", async () => {
    const body = JSON.stringify({ name: "ci", role: "ROLE_ADMIN", expireTime: "2030-01-01T00:00:00Z" });
    await send("POST", "/api/v1/access/tokens", { body });
    expect(seen).toMatchObject([{ name: "ci", role: 3, expireTime: { seconds: 1893456000n } }]);
  });

  it.each([
    ['{"name":', 400],
    ["[]", 400],
    ['{"name": 5, "role": "ROLE_ADMIN"}', 400],
    ['{"nam": "x"}', 400],
    ['{"name": "x", "role": "ROLE_KING"}', 400],
    ['{"__proto__": {"name": "x"}}', 400],
    [`{"name": "${"x".repeat(3 * 1024 * 1024)}"}`, 413],
  ])("%.40s is refused with %i", async (body, status) => {
    expect(await send("POST", "/api/v1/access/tokens", { body })).toMatchObject({ status });
    expect(seen).toEqual([]);
  });

  it("name the unknown field", async () => {
    const { json } = await send("POST", "/api/v1/access/tokens", { body: '{"nam": "x"}' });
    expect(json.details[1].fieldViolations).toEqual([
      { field: "nam", description: "is not a field of this request" },
    ]);
  });

  it("must be JSON", async () => {
    const refused = await send("POST", "/api/v1/access/tokens", {
      body: "a=b",
      type: "application/x-www-form-urlencoded",
    });
    expect(refused).toMatchObject({ status: 415, json: { code: 3 } });
  });
});

describe("errors", () => {
  it("are google.rpc.Status under the HTTP status of their code", async () => {
    const { status, json } = await send("POST", `/api/v1/rollouts/${deviceId}:start`, { body: "{}" });
    expect(status).toBe(400);
    expect(json).toMatchObject({ code: 9, message: "no" });
    expect(json.details[0]).toMatchObject({
      reason: "ILLEGAL_TRANSITION",
      domain: "ota.device",
      metadata: { state: "PAUSED" },
    });
  });

  it("say when to come back", async () => {
    const { status, headers, json } = await send("POST", `/api/v1/rollouts/${deviceId}:pause`);
    expect(status).toBe(503);
    expect(headers.get("retry-after")).toBe("2");
    expect(json.details[1]).toEqual({
      "@type": "type.googleapis.com/google.rpc.RetryInfo",
      retryDelay: "1.200s",
    });
  });

  it("tell a stranger nothing about the request", async () => {
    const stranger = await send("POST", "/api/v1/access/tokens", { body: "not json", token: "" });
    expect(stranger.status).toBe(401);
    expect(stranger.headers.get("www-authenticate")).toBe("Bearer");
    expect(reasonOf(stranger.json)).toBe("CREDENTIAL_MISSING");
    expect((await send("GET", `/api/v1/devices/${otherDeviceId}`, { token: "device" })).status).toBe(403);
    expect((await send("GET", `/api/v1/devices/${deviceId}`, { token: "device" })).status).toBe(200);
  });

  it("outside of /api are plain", async () => {
    expect((await fetch(`${doors.httpUrl}/nothing`)).status).toBe(404);
  });
});
