import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { signManifest } from "../../src/manifest/signature.ts";
import {
  bytes,
  type EnrolledDevice,
  enrolDevice,
  http,
  newContent,
  registerKey,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** The REST calls of the specification, exactly as it writes them, by plain HTTP. */

let service: TestService;
let token: string;
let device: EnrolledDevice;
beforeAll(async () => {
  service = await startTestService();
  token = service.adminToken;
  device = await enrolDevice(service);
});
afterAll(() => service[Symbol.asyncDispose]());

describe("firmware updates", () => {
  const content = newContent(1_000);
  const sha256 = createHash("sha256").update(content).digest("hex");
  let id: string;

  it("POST /api/v1/firmware creates a firmware update", async () => {
    const answer = await http(service, "POST", "/api/v1/firmware", {
      token,
      body: {
        product: "thermostat-os",
        version: "1.1.0",
        deviceTypes: ["thermostat"],
        hardwareModels: ["tx-200"],
        minBatteryPercent: 30,
        minFreeStorageBytes: "4096",
        releaseNotes: "Better.",
        metadata: { build: "7" },
        sha256,
        sizeBytes: content.length,
      },
    });
    expect(answer.status).toBe(200);
    expect(answer.body.firmware).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7/),
      product: "thermostat-os",
      version: "1.1.0",
      state: "FIRMWARE_STATE_DRAFT",
      minBatteryPercent: 30,
      minFreeStorageBytes: "4096",
      sizeBytes: "1000",
      metadata: { build: "7" },
    });
    id = answer.body.firmware.id as string;
  });

  it("GET /api/v1/firmware lists firmware updates with filtering", async () => {
    const list = (query: string) => http(service, "GET", `/api/v1/firmware?${query}`, { token });
    const found = await list("device_type=thermostat&states=FIRMWARE_STATE_DRAFT&page_size=10");
    expect(found.status).toBe(200);
    expect(found.body).toEqual({ firmware: [expect.objectContaining({ id })], nextPageToken: "" });
    expect((await list("device_type=lamp")).body.firmware).toEqual([]);
    expect((await list("states=FIRMWARE_STATE_RELEASED")).body.firmware).toEqual([]);
    expect((await list("product=thermostat-os&version=1.1.0")).body.firmware).toHaveLength(1);
  });

  it("GET /api/v1/firmware/{id} gets a specific firmware update", async () => {
    const answer = await http(service, "GET", `/api/v1/firmware/${id}`, { token });
    expect(answer.status).toBe(200);
    expect(answer.body.firmware).toMatchObject({ id, version: "1.1.0", sha256 });
    const missing = "/api/v1/firmware/0199aaaa-0000-7000-8000-000000000000";
    expect((await http(service, "GET", missing, { token })).status).toBe(404);
  });

  it("PUT /api/v1/firmware/{id} updates the firmware's configuration, and only what is given", async () => {
    const body = { releaseNotes: "Much better.", minBatteryPercent: 0 };
    const answer = await http(service, "PUT", `/api/v1/firmware/${id}`, { token, body });
    expect(answer.status).toBe(200);
    expect(answer.body.firmware).toMatchObject({
      id,
      releaseNotes: "Much better.",
      minBatteryPercent: 0,
      minFreeStorageBytes: "4096",
    });
  });

  it("POST /api/v1/firmware/{id}/deploy deploys to a deployment ring", async () => {
    const uploaded = await http(service, "POST", `/api/v1/firmware/${id}/chunks`, {
      token,
      body: { data: content.toString("base64"), finish: true },
    });
    expect(uploaded.body.firmware.state).toBe("FIRMWARE_STATE_UPLOADED");
    const client = service.client();
    const { privateKeyPem, keyId } = await registerKey(client);
    const { manifest } = await client.unary(FirmwareService.method.getFirmwareManifest, { id });
    const signature = bytes(signManifest(privateKeyPem, manifest));
    await client.unary(FirmwareService.method.signFirmware, { id, manifest, keyId, signature });

    const deploy = (ring: string) =>
      http(service, "POST", `/api/v1/firmware/${id}/deploy`, { token, body: { ring } });
    const canary = await deploy("canary");
    expect(canary.status).toBe(200);
    expect(canary.body.rollout).toMatchObject({
      firmwareId: id,
      state: "ROLLOUT_STATE_RUNNING",
      rings: [
        { name: "canary", percent: 5, state: "RING_STATE_OPEN" },
        { name: "early", percent: 25, state: "RING_STATE_WAITING" },
        { name: "broad", percent: 75, state: "RING_STATE_WAITING" },
        { name: "production", percent: 100, state: "RING_STATE_WAITING" },
      ],
    });
    const broad = await deploy("broad");
    expect(broad.body.rollout.id).toBe(canary.body.rollout.id);
    expect(broad.body.rollout.rings.map(({ state }: { state: string }) => state)).toEqual([
      "RING_STATE_PASSED",
      "RING_STATE_PASSED",
      "RING_STATE_OPEN",
      "RING_STATE_WAITING",
    ]);
  });
});

describe("device heartbeat", () => {
  it("POST /api/v1/heartbeat receives a device's heartbeat with all that it measures", async () => {
    const answer = await http(service, "POST", "/api/v1/heartbeat", {
      token: device.token,
      body: {
        deviceId: device.id,
        heartbeats: [
          {
            sequence: 1,
            firmwareVersion: "1.0.0",
            bootId: "boot-1",
            uptime: "90s",
            batteryPercent: 71.5,
            charging: false,
            cpuPercent: 12,
            memoryPercent: 40,
            storageFreeBytes: "1000000",
            temperatureCelsius: 36.5,
            location: { latitude: 52.52, longitude: 13.405, accuracyMeters: 5 },
            network: { type: "NETWORK_TYPE_WIFI", signalDbm: -61 },
            errors: [{ code: "E_SENSOR", severity: "SEVERITY_WARNING", message: "no answer" }],
            metrics: { fan_rpm: 1200 },
          },
        ],
      },
    });
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({
      ack: { ackedThrough: "1", rejected: [] },
      heartbeatInterval: "1s",
      serverTime: expect.any(String),
    });
  });

  it("GET /api/v1/heartbeat/{device_id} gets the device's heartbeat history", async () => {
    for (const reader of [token, device.token]) {
      const answer = await http(service, "GET", `/api/v1/heartbeat/${device.id}`, { token: reader });
      expect(answer.status).toBe(200);
      expect(answer.body.heartbeats).toMatchObject([
        {
          heartbeat: {
            sequence: "1",
            firmwareVersion: "1.0.0",
            uptime: "90s",
            batteryPercent: 71.5,
            storageFreeBytes: "1000000",
            location: { latitude: 52.52, longitude: 13.405, accuracyMeters: 5 },
            network: { type: "NETWORK_TYPE_WIFI", signalDbm: -61 },
            errors: [{ code: "E_SENSOR", severity: "SEVERITY_WARNING", message: "no answer", fatal: false }],
            metrics: { fan_rpm: 1200 },
          },
          receiveTime: expect.any(String),
          epoch: 1,
        },
      ]);
    }
  });

  it("GET /api/v1/devices/status gets the device status overview", async () => {
    await eventually(async () => {
      const answer = await http(service, "GET", "/api/v1/devices/status", { token });
      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({
        totalCount: "1",
        unknownCount: "0",
        firmwareVersions: [{ name: "1.0.0", count: "1" }],
        deviceTypes: [{ name: "thermostat", count: "1" }],
      });
    });
  });
});

describe("health and monitoring", () => {
  it("GET /health/ and /health/ready say what they checked, without a credential", async () => {
    for (const path of ["/health/", "/health/ready"]) {
      const answer = await http(service, "GET", path);
      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({ status: "ready" });
      const text = JSON.stringify(answer.body);
      for (const check of ["database", "migrations", "store"]) expect(text).toContain(check);
    }
  });

  it("GET /health/live says that the process answers", async () => {
    const answer = await http(service, "GET", "/health/live");
    expect(answer).toMatchObject({ status: 200, body: { status: "alive" } });
  });

  it("GET /metrics counts calls by method, door and code", async () => {
    await http(service, "GET", "/api/v1/firmware/not-a-uuid", { token });
    const answer = await http(service, "GET", "/metrics");
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toMatch(/^text\/plain/);
    const line = answer.body
      .split("\n")
      .find(
        (each: string) => each.includes('FirmwareService/GetFirmware"') && each.includes("invalid_argument"),
      );
    expect(line).toMatch(/door="rest"/);
    expect(answer.body).toMatch(/^device_ota_heartbeat_streams 0$/m);
  });
});

describe("what is not there", () => {
  it("is told apart: no such path, no such method, no JSON", async () => {
    expect((await http(service, "GET", "/api/v1/nothing", { token })).status).toBe(404);
    const wrongMethod = await http(service, "DELETE", "/api/v1/heartbeat", { token });
    expect(wrongMethod.status).toBe(405);
    expect(wrongMethod.headers.get("allow")).toBe("POST");
    const headers = { "content-type": "text/plain" };
    const wrongType = await http(service, "POST", "/api/v1/firmware", { token, body: {}, headers });
    expect(wrongType.status).toBe(415);
    const broken = await fetch(new URL("/api/v1/firmware", service.httpUrl), {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: "{",
    });
    expect(broken.status).toBe(400);
  });
});
