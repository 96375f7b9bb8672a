import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareState } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import {
  createFirmware,
  enrolDevice,
  type HttpAnswer,
  http,
  httpRefusal,
  newContent,
  publish,
  refusal,
  upload,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** No verb answers that all is well and does nothing: what it changed is in the answer of every door. */

let service: TestService;
beforeAll(async () => {
  service = await startTestService({ settings: { DEVICE_OTA_REQUIRE_SIGNATURE: "false" } });
});
afterAll(() => service[Symbol.asyncDispose]());

function post(path: string, body: object = {}): Promise<HttpAnswer> {
  return http(service, "POST", `/api/v1${path}`, { token: service.adminToken, body });
}

/** Firmware with its content, which nobody signed. */
async function uploaded(product: string, version: string): Promise<string> {
  const content = newContent(100);
  const { id } = await createFirmware(service.client(), content, { product, version });
  await upload(service.client(), id, content);
  return id;
}

describe("deploying to a ring", () => {
  it("with another targeting than that of the rollout which runs is refused, and opens nothing", async () => {
    const { id } = await publish(service, newContent(100));
    const { body } = await post(`/firmware/${id}/deploy`);
    expect(body.effect).toMatchObject({
      unchanged: false,
      openedRings: ["canary"],
      message: "The rollout is running; ring canary opened.",
    });
    const rollout = body.rollout.id as string;
    const narrowed = { ring: "production", targeting: { groups: ["beta"] } };
    const refused = await post(`/firmware/${id}/deploy`, narrowed);
    expect(refused.status).toBe(400);
    expect(httpRefusal(refused)).toEqual({
      code: "FAILED_PRECONDITION",
      reason: "ROLLOUT_DIFFERS",
      fields: ["targeting.groups"],
    });
    const rpc = service.client();
    expect(
      await refusal(rpc.unary(FirmwareService.method.deployFirmware, { id, ...narrowed })),
    ).toMatchObject({
      reason: "ROLLOUT_DIFFERS",
    });
    const now = await rpc.unary(RolloutService.method.getRollout, { id: rollout });
    expect(now.rollout?.etag).toBe(body.rollout.etag);
    const asItIs = await post(`/firmware/${id}/deploy`, { ring: "production" });
    expect(asItIs.body.effect).toMatchObject({ openedRings: ["early", "broad", "production"] });
    const again = await rpc.unary(FirmwareService.method.deployFirmware, { id, ring: "production" });
    expect(again.effect).toMatchObject({ unchanged: true, openedRings: [] });
  });
});

describe("the verbs of a rollout", () => {
  it("say the same over gRPC and REST: what changed, or that nothing did", async () => {
    const { id: firmwareId } = await publish(service, newContent(100));
    const { body } = await post("/rollouts", { firmwareId, targeting: { groups: ["none"] } });
    const { id } = body.rollout;
    const rpc = service.client();
    const { method } = RolloutService;
    const verbs = [
      ["start", () => rpc.unary(method.startRollout, { id })],
      ["pause", () => rpc.unary(method.pauseRollout, { id })],
      ["resume", () => rpc.unary(method.resumeRollout, { id })],
      ["abort", () => rpc.unary(method.abortRollout, { id })],
    ] as const;
    for (const [verb, repeat] of verbs) {
      const first = await post(`/rollouts/${id}:${verb}`);
      expect(first.body.effect).toMatchObject({
        unchanged: false,
        message: expect.stringMatching(/^The rollout/),
      });
      const again = await repeat();
      expect(again.effect).toMatchObject({
        unchanged: true,
        message: expect.stringMatching(/^Nothing changed: the rollout/),
      });
      expect(again.rollout?.etag).toBe(first.body.rollout.etag);
    }
  });

  it("that have nothing to do are refused at every door with what would have to be true", async () => {
    const { id: firmwareId } = await publish(service, newContent(100));
    const { body } = await post(`/firmware/${firmwareId}/deploy`, { targeting: { groups: ["none"] } });
    const { id } = body.rollout;
    const { id: deviceId } = await enrolDevice(service);
    const rpc = service.client();
    const { method } = RolloutService;
    const nothing = { code: "FAILED_PRECONDITION", reason: "NOTHING_TO_DO" };
    for (const call of [
      () => rpc.unary(method.rollbackRollout, { id }),
      () => rpc.unary(method.rollbackRing, { id, ring: "canary" }),
      () => rpc.unary(method.rollbackDevice, { id, deviceId }),
      () => rpc.unary(method.retryDevice, { id, deviceId }),
      () => rpc.unary(method.approveRollout, { id }),
    ])
      expect(await refusal(call())).toMatchObject(nothing);
    for (const [verb, request] of [
      ["rollback", {}],
      ["rollbackRing", { ring: "canary" }],
      ["rollbackDevice", { deviceId }],
      ["retryDevice", { deviceId }],
      ["approve", {}],
    ] as const) {
      const refused = await post(`/rollouts/${id}:${verb}`, request);
      expect(httpRefusal(refused)).toMatchObject(nothing);
      expect(refused.body.message).toMatch(/no device|never offered|no ring/);
    }
  });
});

describe("the preview of a rollout that exists", () => {
  it.each([
    ["targeting", { targeting: { groups: ["beta"] } }],
    ["policy", { policy: { priority: 3 } }],
    ["rings", { rings: [{ name: "all", percent: 100 }] }],
  ])("refuses another %s, which it would not count by", async (_, other) => {
    const { id: firmwareId } = await publish(service, newContent(100));
    const { body } = await post("/rollouts", { firmwareId });
    const rolloutId = body.rollout.id as string;
    expect((await post("/rollouts:preview", { rolloutId })).status).toBe(200);
    const refused = await post("/rollouts:preview", { rolloutId, ...other });
    expect(httpRefusal(refused)).toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
  });
});

describe("a base version that nobody signed", () => {
  it("is released by a verb of its own, and then devices go back to it", async () => {
    const product = `app-${randomUUID()}`;
    const base = await uploaded(product, "1.0.0");
    const rpc = service.client();
    const device = await PolledDevice.enrol(rpc, service.enrolmentKey);
    const group = await device.joinGroup(rpc, product);
    const { body } = await post(`/firmware/${await uploaded(product, "1.1.0")}/deploy`, {
      targeting: { groups: [group] },
      policy: { verificationDuration: "0s" },
      rings: [{ name: "all", percent: 100, gate: { manual: true } }],
    });
    const { id } = body.rollout;
    await device.update(service);
    await eventually(async () => {
      await device.beat(service);
      const { rollout } = await rpc.unary(RolloutService.method.getRollout, { id });
      expect(rollout?.rings[0]?.counters?.succeeded).toBe(1n);
    });
    device.forget();
    const back = () => post(`/rollouts/${id}:rollbackDevice`, { deviceId: device.id });
    expect(httpRefusal(await back())).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "ROLLBACK_TARGET_MISSING",
    });
    const released = await post(`/firmware/${base}:release`);
    expect(released.body).toMatchObject({ firmware: { state: "FIRMWARE_STATE_RELEASED" }, unchanged: false });
    const again = await rpc.unary(FirmwareService.method.releaseFirmware, { id: base });
    expect(again).toMatchObject({ firmware: { state: FirmwareState.RELEASED }, unchanged: true });
    expect((await back()).body.effect).toMatchObject({ rollbackCount: "1", message: "1 device goes back." });
    const offer = await eventually(() => device.expectOffer(service));
    expect(offer).toMatchObject({ firmwareId: base, version: "1.0.0" });
  });
});

describe("the verbs of firmware and devices", () => {
  it("say when nothing changed", async () => {
    const firmware = await uploaded(`app-${randomUUID()}`, "1.0.0");
    const rpc = service.client();
    const remove = () => rpc.unary(FirmwareService.method.deleteFirmware, { id: firmware });
    expect([(await remove()).unchanged, (await remove()).unchanged]).toEqual([false, true]);
    const { id } = await enrolDevice(service);
    const retire = () => rpc.unary(DeviceService.method.retireDevice, { id });
    expect(await retire()).toMatchObject({ unchanged: false, revokedCount: 1 });
    expect(await retire()).toMatchObject({ unchanged: true, revokedCount: 0 });
  });
});
