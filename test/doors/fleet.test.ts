import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Presence } from "../../gen/ota/v1/device_pb.js";
import { DeviceService, type WatchFleetResponse } from "../../gen/ota/v1/device_service_pb.js";
import { Capability, ClockQuality } from "../../gen/ota/v1/heartbeat_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { connectClient, enrolDevice, http, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

const { method } = DeviceService;

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

/** Reads until a message names a device. */
async function changeOf(
  messages: AsyncIterator<WatchFleetResponse>,
  deviceId: string,
): Promise<{
  readonly presence: Presence;
  readonly previousPresence: Presence;
  readonly resumeToken: string;
}> {
  for (;;) {
    const { value, done } = await messages.next();
    if (done === true) throw new Error("the watch ended");
    const change = value.presenceChanges.find((each: { deviceId: string }) => each.deviceId === deviceId);
    if (change !== undefined) return { ...change, resumeToken: value.resumeToken };
  }
}

describe("WatchFleet", () => {
  it("tells by gRPC and Connect that a device came, and goes on where it was cut", async () => {
    const device = await enrolDevice(service);
    const end = new AbortController();
    const byGrpc = service.client().serverStream(method.watchFleet, {}, { signal: end.signal });
    const grpc = byGrpc[Symbol.asyncIterator]();
    const byConnect = connectClient(service, DeviceService, service.adminToken).watchFleet(
      {},
      { signal: end.signal },
    );
    const connect = byConnect[Symbol.asyncIterator]();
    const [first, alike] = await Promise.all([grpc.next(), connect.next()]);
    expect(first.value?.overview?.totalCount).toBe(alike.value?.overview?.totalCount);

    await service.client(device.token).unary(HeartbeatService.method.sendHeartbeat, {
      heartbeats: [{ sequence: 1n, firmwareVersion: "1.0.0", bootId: "b" }],
    });
    const came = { presence: Presence.ONLINE, previousPresence: Presence.UNKNOWN };
    expect(await changeOf(grpc, device.id)).toMatchObject(came);
    expect(await changeOf(connect, device.id)).toMatchObject(came);
    end.abort();

    const resumed = service
      .client()
      .serverStream(method.watchFleet, { resumeToken: first.value?.resumeToken ?? "" });
    const again = resumed[Symbol.asyncIterator]();
    expect(await changeOf(again, device.id)).toMatchObject(came);
    await again.return?.(undefined);
  });

  it("refuses a token that is none", async () => {
    const watch = service.client().serverStream(method.watchFleet, { resumeToken: "../.." });
    expect(await refusal(watch[Symbol.asyncIterator]().next())).toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("what a device says of itself", () => {
  it("in hello, its heartbeats and nowhere else is shown", async () => {
    const device = await enrolDevice(service);
    const stream = service.client(device.token).bidi(HeartbeatService.method.streamHeartbeats);
    await stream.send({
      message: {
        case: "hello",
        value: {
          deviceId: device.id,
          agentVersion: "agent/2.1",
          capabilities: [Capability.RESUME, Capability.SELF_REVERT],
          clockQuality: ClockQuality.RTC,
        },
      },
    });
    await stream.send({
      message: {
        case: "batch",
        value: {
          heartbeats: [
            {
              sequence: 1n,
              firmwareVersion: "1.0.0",
              bootId: "b",
              components: { "sensor-app": "2.0.0" },
              location: { latitude: 1, longitude: 2, fixTime: { seconds: 1_700_000_000n } },
              errors: [{ code: "E", context: { thread: "main" }, crashLogId: device.id }],
            },
            { sequence: 2n, firmwareVersion: "1.0.0", bootId: "b" },
          ],
        },
      },
    });
    const shown = await eventually(async () => {
      const answer = await service.client().unary(method.getDevice, { id: device.id });
      expect(answer.device).toMatchObject({
        agentVersion: "agent/2.1",
        capabilities: [Capability.RESUME, Capability.SELF_REVERT],
        clockQuality: ClockQuality.RTC,
        components: { "sensor-app": "2.0.0" },
        presence: Presence.ONLINE,
      });
      return answer.device;
    });
    expect(shown?.lastHeartbeat?.sequence).toBe(2n);
    stream.cancel();
    const { heartbeats } = await service
      .client()
      .unary(HeartbeatService.method.listHeartbeats, { deviceId: device.id });
    expect(heartbeats.at(-1)?.heartbeat).toMatchObject({
      components: { "sensor-app": "2.0.0" },
      location: { fixTime: { seconds: 1_700_000_000n } },
      errors: [{ code: "E", context: { thread: "main" }, crashLogId: device.id }],
    });
  });

  it("by an update check alone counts as a sign of life", async () => {
    const device = await enrolDevice(service);
    await service.client(device.token).unary(UpdateService.method.checkForUpdate, {
      firmwareVersion: "1.0.7",
      bootId: "boot-1",
      batteryPercent: 40,
    });
    await eventually(async () => {
      const { device: shown } = await service.client().unary(method.getDevice, { id: device.id });
      expect(shown).toMatchObject({ firmwareVersion: "1.0.7", presence: Presence.ONLINE });
      expect(shown?.lastHeartbeat?.batteryPercent).toBe(40);
    });
  });
});

describe("the overview over REST", () => {
  it("counts what devices said", async () => {
    const device = await enrolDevice(service, { deviceType: "overview-kind" });
    await service.client(device.token).unary(HeartbeatService.method.sendHeartbeat, {
      heartbeats: [
        {
          sequence: 1n,
          firmwareVersion: "7.7.7",
          bootId: "b",
          batteryPercent: 55,
          network: { type: 3, carrier: "telco" },
        },
      ],
    });
    await eventually(async () => {
      const { body } = await http(service, "GET", "/api/v1/devices/status", { token: service.adminToken });
      expect(body.deviceTypes).toContainEqual({ name: "overview-kind", count: "1" });
      expect(body.firmwareVersions).toContainEqual({ name: "7.7.7", count: "1" });
      expect(body.networkTypes).toContainEqual({ name: "NETWORK_TYPE_CELLULAR", count: "1" });
      expect(body.carriers).toContainEqual({ name: "telco", count: "1" });
      expect(body.batteryPercent).toContainEqual({ lowerBound: 50, upperBound: 60, count: "1" });
    });
  });
});

describe("QueryVersionHistory", () => {
  it("answers by gRPC and REST with what was counted at the start, and the present", async () => {
    const startTime = "2026-01-01T00:00:00Z";
    const byGrpc = await service.client().unary(method.queryVersionHistory, {
      startTime: timestampFromDate(new Date(startTime)),
    });
    expect(byGrpc.points.length).toBeGreaterThanOrEqual(2);
    expect(byGrpc.firstTime).toEqual(byGrpc.points[0]?.countTime);
    const answer = await fetch(`${service.httpUrl}/api/v1/devices/versions?start_time=${startTime}`, {
      headers: { authorization: `Bearer ${service.adminToken}` },
    });
    expect(await answer.json()).toMatchObject({ versions: byGrpc.versions });
  });

  it.each([
    ["start_time", {}],
    ["max_points", { startTime: timestampFromDate(new Date(0)), maxPoints: 1_001 }],
    ["component", { startTime: timestampFromDate(new Date(0)), component: "x".repeat(65) }],
  ])("refuses what is wrong with %s", async (field, request) => {
    expect(await refusal(service.client().unary(method.queryVersionHistory, request))).toMatchObject({
      code: "INVALID_ARGUMENT",
      fields: [field],
    });
  });
});
