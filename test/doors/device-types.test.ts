import { randomUUID } from "node:crypto";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { ExpectedIntervalSource, Presence } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { enrolDevice } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

const { getDevice, listDeviceTypes, updateDevice, updateDeviceType } = DeviceService.method;
const day = 86_400_000;

async function shown(id: string) {
  const { device } = await service.client().unary(getDevice, { id });
  return device;
}

/** Opens a stream as a device that beats by itself so often, sends a heartbeat, and is away again. */
async function beatOnce(
  device: { id: string; token: string },
  intervalMs: number | undefined,
): Promise<void> {
  const stream = service.client(device.token).bidi(HeartbeatService.method.streamHeartbeats);
  const heartbeatInterval = intervalMs === undefined ? undefined : durationFromMs(intervalMs);
  await stream.send({
    message: {
      case: "hello",
      value: { deviceId: device.id, epoch: 1, ...(heartbeatInterval && { heartbeatInterval }) },
    },
  });
  const answers = stream[Symbol.asyncIterator]();
  const { value: welcome } = await answers.next();
  // What it says of itself changes nothing of what it is asked for.
  expect(welcome?.message.value).toMatchObject({ heartbeatInterval: { seconds: 1n } });
  const heartbeats = [{ sequence: 1n, firmwareVersion: "1.0.0", bootId: "b" }];
  await stream.send({ message: { case: "batch", value: { heartbeats } } });
  await answers.next();
  stream.finish();
}

describe("how often devices are expected", () => {
  it("is said by operators for a device type, and kept in the audit log", async () => {
    const client = service.client();
    const type = `buoy / ${randomUUID()}`;
    const { id } = await enrolDevice(service, { deviceType: type });
    const said = await client.unary(updateDeviceType, {
      name: type,
      expectedInterval: durationFromMs(day),
      reason: "once a day by satellite",
    });
    expect(said.type).toMatchObject({ name: type, expectedInterval: { seconds: 86_400n } });
    await eventually(async () => {
      const { deviceTypes } = await client.unary(listDeviceTypes, {});
      expect(deviceTypes).toContainEqual(expect.objectContaining({ name: type, deviceCount: 1n }));
    });
    expect(await shown(id)).toMatchObject({
      expectedInterval: { seconds: 86_400n },
      expectedIntervalSource: ExpectedIntervalSource.DEVICE_TYPE,
    });
    const { events } = await client.unary(AccessService.method.listAuditEvents, { resourceId: type });
    expect(events).toMatchObject([
      {
        action: "device_type.update",
        reason: "once a day by satellite",
        details: { from_expected_interval: "", to_expected_interval: "86400s" },
      },
    ]);
    const answer = await fetch(`${service.httpUrl}/api/v1/deviceTypes:update`, {
      method: "POST",
      headers: { authorization: `Bearer ${service.adminToken}`, "content-type": "application/json" },
      body: JSON.stringify({ name: type, expectedInterval: "0s" }),
    });
    expect(await answer.json()).toMatchObject({ type: { name: type, deviceCount: "1" } });
    expect((await shown(id))?.expectedIntervalSource).toBe(ExpectedIntervalSource.SETTING);
  });

  it("is said by a device in its hello, and before that by an operator for this device", async () => {
    const client = service.client();
    const device = await enrolDevice(service, {});
    await beatOnce(device, day);
    await eventually(async () =>
      expect(await shown(device.id)).toMatchObject({
        presence: Presence.ONLINE,
        expectedInterval: { seconds: 86_400n },
        reportedInterval: { seconds: 86_400n },
        expectedIntervalSource: ExpectedIntervalSource.DEVICE,
      }),
    );
    const short = await client.unary(updateDevice, {
      id: device.id,
      expectedInterval: durationFromMs(1_000),
    });
    expect(short.device).toMatchObject({
      expectedInterval: { seconds: 1n },
      reportedInterval: { seconds: 86_400n },
      expectedIntervalSource: ExpectedIntervalSource.OPERATOR,
    });
    // By the heartbeat of a second ago it is late or offline in a moment, which a daily device is not.
    await eventually(async () => expect((await shown(device.id))?.presence).toBe(Presence.OFFLINE));
    await client.unary(updateDevice, { id: device.id, expectedInterval: durationFromMs(0) });
    expect((await shown(device.id))?.presence).toBe(Presence.ONLINE);
    const { onlineCount } = await client.unary(DeviceService.method.getDeviceStatusOverview, {});
    expect(onlineCount).toBe(1n);
  });

  it.each([
    ["less than a second", { seconds: 0n, nanos: 999_000_000 }],
    ["more than 30 days", { seconds: 2_592_001n, nanos: 0 }],
    ["less than nothing", { seconds: -1n, nanos: 0 }],
  ])("is not %s", async (_, interval) => {
    const device = await enrolDevice(service, {});
    const expectedInterval = { $typeName: "google.protobuf.Duration" as const, ...interval };
    const said: Promise<unknown>[] = [
      service.client().unary(updateDevice, { id: device.id, expectedInterval }),
      service.client().unary(updateDeviceType, { name: "buoy", expectedInterval }),
    ];
    for (const { status, ...answer } of await Promise.allSettled(said)) {
      expect(status).toBe("rejected");
      expect(answer).toMatchObject({
        reason: { reason: "INVALID_REQUEST", metadata: { field: "expected_interval" } },
      });
    }
  });
});
