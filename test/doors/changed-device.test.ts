import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { DeviceUpdateState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { enrolDevice, http, newContent, publish, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

const { method } = UpdateService;

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

/** A rollout for model rev-a of a device type of its own, and a rev-a device that was offered it. */
async function scene(targeting: { filter?: string } = { filter: "" }) {
  const deviceType = `type ${randomUUID()}`;
  const client = service.client();
  const hardwareModels = targeting.filter === "" ? ["rev a", "rev a2"] : [];
  const firmware = await publish(service, newContent(), { deviceTypes: [deviceType], hardwareModels });
  const { rollout } = await client.unary(FirmwareService.method.deployFirmware, {
    id: firmware.id,
    rings: [{ name: "all", percent: 100 }],
    targeting,
  });
  const serialNumber = `sn ${randomUUID()}`;
  const enrol = (hardwareModel: string, type = deviceType) =>
    enrolDevice(service, { serialNumber, deviceType: type, hardwareModel });
  const first = await enrol("rev a");
  const board = { token: first.token };
  const check = () =>
    service.client(board.token).unary(method.checkForUpdate, { firmwareVersion: "1.0.0", bootId: "boot 1" });
  const { offer } = await check();
  if (offer === undefined) throw new Error("no offer");
  return {
    ...first,
    deviceType,
    rolloutId: rollout?.id ?? "",
    updateId: offer.updateId,
    check,
    /** Another board takes its place. */
    async swap(hardwareModel: string, type?: string) {
      await client.unary(DeviceService.method.resetDeviceCredential, { id: first.id });
      board.token = (await enrol(hardwareModel, type)).token;
    },
    correct: (fields: { deviceType?: string; hardwareModel?: string }) =>
      client.unary(DeviceService.method.updateDevice, { id: first.id, ...fields }),
    report: (state: DeviceUpdateState, updateId = offer.updateId) => {
      const failureReason = state === DeviceUpdateState.FAILED ? "NO_ROOM" : "";
      return service.client(board.token).unary(method.reportUpdateStatus, { updateId, state, failureReason });
    },
    /** What the download door says of the first offer. */
    async download(updateId = offer.updateId): Promise<string> {
      const parts = service.client(board.token).serverStream(method.downloadFirmware, { updateId });
      let length = 0;
      try {
        for await (const { message } of parts)
          if (message.case === "chunk") length += message.value.data.length;
      } catch (error) {
        return (await refusal(Promise.reject(error as Error))).reason;
      }
      return `${length} bytes`;
    },
    /** The status of the same over REST. */
    restStatus: async () =>
      (await http(service, "GET", `/api/v1/updates/${offer.updateId}/content`, { token: board.token }))
        .status,
    async counters() {
      const answer = await client.unary(RolloutService.method.getRollout, { id: rollout?.id ?? "" });
      const { offered, inProgress, succeeded, failed, cancelled } = answer.rollout?.rings[0]?.counters ?? {};
      return [offered, inProgress, succeeded, failed, cancelled].map(Number);
    },
    async updates() {
      const answer = await client.unary(RolloutService.method.listDeviceUpdates, {
        rolloutId: rollout?.id ?? "",
      });
      return answer.deviceUpdates.map(({ id, state, failureReason }) => ({ id, state, failureReason }));
    },
  };
}

describe("an open update whose device is swapped for another board", () => {
  it.each([
    ["of another model", "rev b", undefined],
    ["of another type", "rev a", "another type"],
  ])("is cancelled at every door for a board %s, and counts as not made", async (_what, model, type) => {
    const device = await scene();
    await device.report(DeviceUpdateState.DOWNLOADING);
    await device.swap(model, type);

    expect(await device.restStatus()).toBe(403);
    expect(await device.download()).toBe("NOT_OFFERED");
    expect((await device.report(DeviceUpdateState.DOWNLOADED)).state).toBe(DeviceUpdateState.CANCELLED);
    expect((await device.check()).offer).toBeUndefined();
    expect(await device.counters()).toEqual([0, 0, 0, 0, 0]);

    await device.swap("rev a");
    expect((await device.check()).offer?.updateId).toEqual(expect.any(String));
    expect(await device.counters()).toEqual([1, 1, 0, 0, 0]);
  });

  it("is offered afresh to a board of the same kind, which proves it by its own boots", async () => {
    const device = await scene();
    await device.report(DeviceUpdateState.DOWNLOADED);
    await device.swap("rev a");
    expect(await device.download()).toBe("NOT_OFFERED");
    const { offer } = await device.check();
    expect(offer?.updateId).not.toBe(device.updateId);
    expect(await device.download(offer?.updateId)).toBe("20000 bytes");
    await device.report(DeviceUpdateState.INSTALLING, offer?.updateId);
    expect(await device.counters()).toEqual([1, 1, 0, 0, 0]);
    expect((await device.updates()).map(({ state }) => state)).toEqual([
      DeviceUpdateState.INSTALLING,
      DeviceUpdateState.CANCELLED,
    ]);
  });

  it("is offered afresh although the board before is known to have failed at it", async () => {
    const device = await scene();
    await device.report(DeviceUpdateState.FAILED);
    expect((await device.check()).offer).toBeUndefined();
    const client = service.client();
    await client.unary(RolloutService.method.retryDevice, { id: device.rolloutId, deviceId: device.id });
    await device.swap("rev a");
    expect((await device.check()).offer?.updateId).toEqual(expect.any(String));
  });

  it("has failed if the board before had begun to install it", async () => {
    const device = await scene();
    await device.report(DeviceUpdateState.INSTALLING);
    await device.swap("rev a");
    expect((await device.check()).offer).toBeUndefined();
    expect(await device.counters()).toEqual([1, 0, 0, 1, 0]);
    expect(await device.updates()).toEqual([
      { id: device.updateId, state: DeviceUpdateState.FAILED, failureReason: "DEVICE_REPLACED" },
    ]);
    const client = service.client();
    await client.unary(RolloutService.method.retryDevice, { id: device.rolloutId, deviceId: device.id });
    await eventually(async () => expect((await device.check()).offer).toBeDefined());
  });
});

describe("an operator's word on what a device is", () => {
  it.each([
    ["another model", { hardwareModel: "rev b" }],
    ["another type", { deviceType: "toaster" }],
  ])("cancels the open update that is not for %s", async (_what, fields) => {
    const device = await scene();
    await device.report(DeviceUpdateState.DOWNLOADING);
    const { device: corrected } = await device.correct(fields);
    expect(corrected).toMatchObject(fields);
    expect(await device.download()).toBe("NOT_OFFERED");
    expect((await device.check()).offer).toBeUndefined();
    expect(await device.counters()).toEqual([0, 0, 0, 0, 0]);

    const { events } = await service
      .client()
      .unary(AccessService.method.listAuditEvents, { resourceId: device.id });
    const [name = ""] = Object.keys(fields).map((each) =>
      each.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    );
    expect(events[0]?.details).toEqual({
      [`from_${name}`]: name === "device_type" ? device.deviceType : "rev a",
      [`to_${name}`]: Object.values(fields)[0],
    });

    await device.correct({ deviceType: device.deviceType, hardwareModel: "rev a" });
    expect((await device.check()).offer).toBeDefined();
    expect(await device.counters()).toEqual([1, 1, 0, 0, 0]);
  });

  it("cancels what only the rollout's filter kept from such a device", async () => {
    const device = await scene({ filter: 'hardware_model = "rev a"' });
    await device.correct({ hardwareModel: "rev b" });
    expect(await device.download()).toBe("NOT_OFFERED");
    expect(await device.counters()).toEqual([0, 0, 0, 0, 0]);
  });

  it("leaves an open update that fits as before", async () => {
    const device = await scene();
    await device.report(DeviceUpdateState.DOWNLOADED);
    await device.correct({ hardwareModel: "rev a2" });
    expect((await device.check()).offer?.updateId).toBe(device.updateId);
    expect(await device.download()).toBe("20000 bytes");
  });

  it("cancels an install that is under way, without blaming the firmware", async () => {
    const device = await scene();
    await device.report(DeviceUpdateState.INSTALLING);
    await device.correct({ hardwareModel: "rev b" });
    expect(await device.counters()).toEqual([1, 0, 0, 0, 1]);
    expect(await device.updates()).toEqual([
      { id: device.updateId, state: DeviceUpdateState.CANCELLED, failureReason: "DEVICE_CORRECTED" },
    ]);
  });

  it("is refused where it is no name, and changes nothing", async () => {
    const device = await scene();
    expect(await refusal(device.correct({ hardwareModel: "rev b\n" }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      fields: ["hardware_model"],
    });
    expect(await device.download()).toBe("20000 bytes");
  });
});
