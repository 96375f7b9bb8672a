import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { http, httpRefusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

/** Enrols a board under a serial number. */
async function enrol(serialNumber: string, firmwareVersion: string) {
  const { device, deviceToken, epoch, durableSequence } = await service
    .client()
    .unary(DeviceService.method.enrolDevice, {
      requestId: randomUUID(),
      enrolmentKey: service.enrolmentKey,
      serialNumber,
      deviceType: "thermostat",
      hardwareModel: "tx-200",
      firmwareVersion,
    });
  return { id: device?.id ?? "", token: deviceToken, epoch, durableSequence };
}

type Board = Awaited<ReturnType<typeof enrol>>;

/** A board that has beaten 30 times, told all that it can, and is then replaced by another one that has not beaten. */
async function replaced(): Promise<{ before: Board; after: Board }> {
  const serialNumber = `sn-${randomUUID()}`;
  const before = await enrol(serialNumber, "1.0.0");
  await beat(before, 30, {
    firmwareVersion: "2.0.0",
    batteryPercent: 7,
    securityCounter: 9,
    components: { ui: "5.0.0" },
  });
  const client = service.client();
  const filter = `id = ${before.id} AND firmware_version = "2.0.0"`;
  await eventually(async () =>
    expect((await client.unary(DeviceService.method.countDevices, { filter })).count).toBe(1n),
  );
  await client.unary(DeviceService.method.resetDeviceCredential, { id: before.id });
  return { before, after: await enrol(serialNumber, "1.5.0") };
}

/** Sends heartbeats 1 to `count` by single calls over REST, which name no epoch unless `epoch` is given. */
async function beat({ id, token }: Board, count: number, reading: object, epoch?: number) {
  const heartbeats = Array.from({ length: count }, (_, n) => ({ sequence: n + 1, bootId: "b", ...reading }));
  return http(service, "POST", "/api/v1/heartbeat", { token, body: { deviceId: id, epoch, heartbeats } });
}

async function shown({ id }: Board) {
  const { device } = await service.client().unary(DeviceService.method.getDevice, { id });
  if (device === undefined) throw new Error("no device came back");
  return device;
}

async function stored({ id }: Board, firmwareVersion: string): Promise<bigint[]> {
  const answer = await service
    .client()
    .unary(HeartbeatService.method.listHeartbeats, { deviceId: id, pageSize: 1000 });
  return answer.heartbeats
    .flatMap(({ heartbeat }) => (heartbeat?.firmwareVersion === firmwareVersion ? [heartbeat.sequence] : []))
    .toReversed();
}

describe("a new board under a known serial number", () => {
  it("is the same device, and is told an epoch of its own", async () => {
    const { before, after } = await replaced();
    expect(before).toMatchObject({ epoch: 1, durableSequence: 0n });
    expect(after).toMatchObject({ id: before.id, epoch: 2, durableSequence: 0n });
  });

  it("is shown as it enrolled, with nothing of the board before", async () => {
    const { after } = await replaced();
    const device = await shown(after);
    expect(device).toMatchObject({ firmwareVersion: "1.5.0", securityCounter: 0n, components: {} });
    expect(device.lastHeartbeat?.batteryPercent).toBeUndefined();
    const filter = `id = ${after.id} AND firmware_version = "1.5.0" AND NOT battery_percent < 100`;
    const { count } = await service.client().unary(DeviceService.method.countDevices, { filter });
    expect(count).toBe(1n);
  });

  it.each([
    ["names no epoch", () => undefined],
    ["names the epoch of its enrolment", ({ epoch }: Board) => epoch],
    ["says 0", () => 0],
  ])("may count from 1 again when it %s", async (_how, epochOf) => {
    const { after } = await replaced();
    const answer = await beat(after, 5, { firmwareVersion: "1.6.0" }, epochOf(after));
    expect(answer.body.ack).toMatchObject({ ackedThrough: "5" });
    expect(await stored(after, "1.6.0")).toEqual([1n, 2n, 3n, 4n, 5n]);
    await eventually(async () => expect((await shown(after)).firmwareVersion).toBe("1.6.0"));
    // Again: nothing is stored twice.
    await beat(after, 5, { firmwareVersion: "1.6.0" }, epochOf(after));
    expect(await stored(after, "1.6.0")).toHaveLength(5);
  });

  it("is told so if it counts in the epoch of the board before", async () => {
    const { after } = await replaced();
    const answer = await beat(after, 5, { firmwareVersion: "1.6.0" }, 1);
    expect(httpRefusal(answer)).toMatchObject({ code: "FAILED_PRECONDITION", reason: "STALE_EPOCH" });
  });

  it("counts on a stream in its own epoch without naming it", async () => {
    const { after } = await replaced();
    const stream = service.client(after.token).bidi(HeartbeatService.method.streamHeartbeats);
    const answers = stream[Symbol.asyncIterator]();
    await stream.send({ message: { case: "hello", value: { deviceId: after.id } } });
    const welcome = (await answers.next()).value?.message;
    expect(welcome).toMatchObject({ case: "welcome", value: { epoch: 2, durableSequence: 0n } });
    const heartbeats = [{ sequence: 1n, firmwareVersion: "1.6.0" }];
    await stream.send({ message: { case: "batch", value: { heartbeats } } });
    expect((await answers.next()).value?.message).toMatchObject({ case: "ack", value: { ackedThrough: 1n } });
    expect(await stored(after, "1.6.0")).toEqual([1n]);
    stream.cancel();
  });

  it("may run what the security counter of the board before would forbid", async () => {
    const { after } = await replaced();
    await beat(after, 1, { firmwareVersion: "1.6.0", securityCounter: 3 });
    await service
      .client(after.token)
      .unary(UpdateService.method.checkForUpdate, { firmwareVersion: "1.6.0" });
    await eventually(async () => expect((await shown(after)).securityCounter).toBe(3n));
  });

  it("learns the mark of its epoch when only the answer to its enrolment was lost", async () => {
    const request = {
      requestId: randomUUID(),
      enrolmentKey: service.enrolmentKey,
      serialNumber: `sn-${randomUUID()}`,
      deviceType: "thermostat",
      hardwareModel: "tx-200",
      firmwareVersion: "1.0.0",
    };
    const client = service.client();
    const first = await client.unary(DeviceService.method.enrolDevice, request);
    const id = first.device?.id ?? "";
    await beat({ id, token: first.deviceToken, epoch: 1, durableSequence: 0n }, 4, {
      firmwareVersion: "1.0.0",
    });
    const second = await client.unary(DeviceService.method.enrolDevice, request);
    expect(second).toMatchObject({ epoch: 1, durableSequence: 4n });
  });
});
