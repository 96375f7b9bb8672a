import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { Standing } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { DeviceUpdateState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { NoOfferReason, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { enrolDevice, http, httpRefusal, newContent, publish, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { refusalsAtAllDoors } from "../support/who-am-i.ts";

/** How far operators let devices in: blocked, in quarantine, approved. */

const { blockDevice, unblockDevice, quarantineDevice, approveDevice } = DeviceService.method;
const blocked = { code: "PERMISSION_DENIED", reason: "DEVICE_BLOCKED", fields: [] };

let service: TestService;
let other: TestService;
beforeAll(async () => {
  service = await startTestService();
  other = await startTestService({ databaseUrl: service.databaseUrl });
});
afterAll(async () => {
  await other[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

/** A device of a type of its own, and a rollout of 1.1.0 for that type. */
async function scene(enrolmentKey = service.enrolmentKey) {
  const deviceType = `board ${randomUUID()}`;
  const client = service.client();
  const firmware = await publish(service, newContent(), { deviceTypes: [deviceType] });
  const { rollout } = await client.unary(FirmwareService.method.deployFirmware, {
    id: firmware.id,
    rings: [{ name: "all", percent: 100 }],
  });
  const rolloutId = rollout?.id ?? "";
  const serialNumber = `sn-${randomUUID()}`;
  const device = await enrolDevice(service, { serialNumber, deviceType, enrolmentKey });
  return {
    ...device,
    serialNumber,
    deviceType,
    rolloutId,
    check: async () => {
      const answer = await service
        .client(device.token)
        .unary(UpdateService.method.checkForUpdate, { firmwareVersion: "1.0.0", bootId: "b" });
      return answer.offer?.version ?? NoOfferReason[answer.noOfferReason];
    },
    explained: async () =>
      await client.unary(RolloutService.method.explainUpdate, { rolloutId, deviceId: device.id }),
    preview: async () => await client.unary(RolloutService.method.previewRollout, { rolloutId }),
  };
}

/** A device's stream that is open. */
async function openStream(at: TestService, { id, token }: { id: string; token: string }) {
  const stream = at.client(token).bidi(HeartbeatService.method.streamHeartbeats);
  const answers = stream[Symbol.asyncIterator]();
  await stream.send({ message: { case: "hello", value: { deviceId: id, firmwareVersion: "1.0.0" } } });
  expect((await answers.next()).value?.message.case).toBe("welcome");
  return answers;
}

describe("a blocked device", () => {
  it("is cut off and refused at every door of every replica, until it is unblocked", async () => {
    const device = await enrolDevice(service);
    const answers = await openStream(other, device);
    const act = await http(service, "POST", `/api/v1/devices/${device.id}:block`, {
      token: service.adminToken,
      body: { reason: "stolen" },
    });
    expect(act.body).toMatchObject({ device: { standing: "STANDING_BLOCKED" } });
    expect(await refusal(answers.next())).toEqual(blocked);
    const refused = { grpc: blocked, connect: blocked, rest: blocked, restStatus: 403 };
    expect(await refusalsAtAllDoors(service, device.token)).toEqual(refused);
    await eventually(async () => {
      expect(await refusalsAtAllDoors(other, device.token)).toEqual(refused);
    });
    expect((await service.client().unary(blockDevice, { id: device.id })).unchanged).toBe(true);

    const back = await service.client().unary(unblockDevice, { id: device.id, reason: "found" });
    expect(back).toMatchObject({ unchanged: false, device: { standing: Standing.ADMITTED } });
    await service.client(device.token).unary(AccessService.method.whoAmI, {});
    await eventually(async () => {
      await other.client(device.token).unary(AccessService.method.whoAmI, {});
    });
    const { events } = await service
      .client()
      .unary(AccessService.method.listAuditEvents, { resourceId: device.id });
    expect(events.map(({ action, reason, details }) => [action, reason, details["to_standing"]])).toEqual([
      ["device.unblock", "found", "admitted"],
      ["device.block", "stolen", "blocked"],
      ["device.enrol", "", undefined],
    ]);
  });

  it("does not come back by enrolling, whether it repeats its enrolment or was reset", async () => {
    const [serialNumber, requestId] = [`sn-${randomUUID()}`, randomUUID()];
    const { id } = await enrolDevice(service, { serialNumber, requestId });
    await service.client().unary(blockDevice, { id });
    expect(await refusal(enrolDevice(service, { serialNumber, requestId }))).toEqual(blocked);
    await service.client().unary(DeviceService.method.resetDeviceCredential, { id });
    expect(await refusal(enrolDevice(service, { serialNumber }))).toEqual(blocked);
    await service.client().unary(unblockDevice, { id });
    expect((await enrolDevice(service, { serialNumber })).id).toBe(id);
  });

  it("holds no rollout up: its update is cancelled, and it is waited for no more", async () => {
    const device = await scene();
    await eventually(async () => expect(await device.check()).toBe("1.1.0"));
    const client = service.client();
    await client.unary(blockDevice, { id: device.id });
    const { deviceUpdates } = await client.unary(RolloutService.method.listDeviceUpdates, {
      rolloutId: device.rolloutId,
    });
    expect(deviceUpdates).toMatchObject([
      { state: DeviceUpdateState.CANCELLED, failureReason: "DEVICE_BLOCKED" },
    ]);
    expect(await device.explained()).toMatchObject({ offered: false });
    const second = await scene();
    await client.unary(blockDevice, { id: second.id });
    expect((await second.explained()).noOfferReason).toBe(NoOfferReason.BLOCKED);
    expect(await second.preview()).toMatchObject({
      targetedCount: 1n,
      readyCount: 0n,
      heldBack: [{ reason: NoOfferReason.BLOCKED, count: 1n }],
    });
  });

  it("cannot be one that is retired", async () => {
    const { id } = await enrolDevice(service);
    await service.client().unary(DeviceService.method.retireDevice, { id });
    expect(await refusal(service.client().unary(blockDevice, { id }))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "ILLEGAL_TRANSITION",
    });
  });
});

describe("a device in quarantine", () => {
  it("is heard and offered nothing, which explanations and previews tell, until it is approved", async () => {
    const device = await scene();
    const client = service.client();
    const { id, token } = device;
    expect(await client.unary(quarantineDevice, { id })).toMatchObject({
      unchanged: false,
      device: { standing: Standing.QUARANTINED },
    });
    expect(await device.check()).toBe("QUARANTINED");
    const heartbeats = [{ sequence: 1, firmwareVersion: "1.0.0", bootId: "b" }];
    const beat = await http(service, "POST", "/api/v1/heartbeat", {
      token,
      body: { deviceId: id, heartbeats },
    });
    expect(beat.body.ack).toMatchObject({ ackedThrough: "1" });
    const { noOfferReason, rules } = await device.explained();
    expect(noOfferReason).toBe(NoOfferReason.QUARANTINED);
    expect(rules.find(({ name }) => name === "standing")).toMatchObject({
      holds: false,
      actual: "quarantined",
    });
    const { heldBack, ringCensus } = await device.preview();
    expect(heldBack).toMatchObject([{ reason: NoOfferReason.QUARANTINED, count: 1n, deviceIds: [id] }]);
    // Nobody waits for it: it is none of the devices that the ring would have to bring to the version.
    expect(ringCensus).toMatchObject([{ devices: 1n, eligible: 0n, awaited: 0n }]);
    const filter = `standing = QUARANTINED AND device_type = "${device.deviceType}"`;
    expect((await client.unary(DeviceService.method.countDevices, { filter })).count).toBe(1n);

    await client.unary(approveDevice, { id });
    await eventually(async () => expect(await device.check()).toBe("1.1.0"));
    expect((await client.unary(approveDevice, { id })).unchanged).toBe(true);
  });

  it("is whoever enrols with a key that asks for approval", async () => {
    const { secret, key } = await service.client().unary(AccessService.method.createEnrolmentKey, {
      name: "strangers",
      requireApproval: true,
    });
    expect(key?.requireApproval).toBe(true);
    const device = await scene(secret);
    expect(await device.check()).toBe("QUARANTINED");
    await service.client().unary(approveDevice, { id: device.id });
    await eventually(async () => expect(await device.check()).toBe("1.1.0"));
    // And again when it enrols again: another board may have come.
    await service.client().unary(DeviceService.method.resetDeviceCredential, { id: device.id });
    const { serialNumber, deviceType } = device;
    await enrolDevice(service, { serialNumber, deviceType, enrolmentKey: secret });
    const shown = await service.client().unary(DeviceService.method.getDevice, { id: device.id });
    expect(shown.device?.standing).toBe(Standing.QUARANTINED);
  });

  it("is there again after it was blocked and unblocked", async () => {
    const { id } = await enrolDevice(service);
    await service.client().unary(quarantineDevice, { id });
    await service.client().unary(blockDevice, { id });
    const { device } = await service.client().unary(unblockDevice, { id });
    expect(device?.standing).toBe(Standing.QUARANTINED);
  });
});

describe("many devices at once", () => {
  it("are put in quarantine and approved as the count before said, and unknown verbs are refused", async () => {
    const deviceType = `batch ${randomUUID()}`;
    const ids: string[] = [];
    for (let each = 0; each < 3; each++) ids.push((await enrolDevice(service, { deviceType })).id);
    const batch = async (body: object) =>
      await http(service, "POST", "/api/v1/devices:batchUpdate", { token: service.adminToken, body });
    const filter = `device_type = "${deviceType}"`;
    const change = { filter, standingVerb: "STANDING_VERB_QUARANTINE", reason: "odd readings" };
    const counts = { matchedCount: "3", changedCount: "3" };
    expect((await batch({ ...change, validateOnly: true })).body).toEqual(counts);
    expect((await batch({ ...change, expectedCount: 3 })).body).toEqual(counts);
    const inQuarantine = async () =>
      (
        await service
          .client()
          .unary(DeviceService.method.countDevices, { filter: `${filter} standing = QUARANTINED` })
      ).count;
    expect(await inQuarantine()).toBe(3n);
    const { body } = await batch({ deviceIds: ids.slice(1), standingVerb: "STANDING_VERB_APPROVE" });
    expect(body).toEqual({ matchedCount: "2", changedCount: "2" });
    expect(await inQuarantine()).toBe(1n);
    for (const standingVerb of ["STANDING_VERB_UNSPECIFIED", 99])
      expect(httpRefusal(await batch({ deviceIds: ids, standingVerb }))).toMatchObject({
        code: "INVALID_ARGUMENT",
        fields: ["standingVerb"],
      });
  });
});
