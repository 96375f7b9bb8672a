import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RemedyAction } from "../../gen/ota/v1/remedy_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { RolloutWarningCode } from "../../gen/ota/v1/rollout_warning_pb.js";
import { http, httpRefusal, newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** What is told before a rollout starts, by plain HTTP and gRPC. */

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

function post(path: string, body: object = {}) {
  return http(service, "POST", path, { token: service.adminToken, body });
}

/** So many devices of a group of their own that run 1.0.0 of a product of their own, which the catalogue lacks. */
async function scene(count: number) {
  const rpc = service.client();
  const product = `app-${randomUUID()}`;
  const group = `g-${randomUUID()}`;
  for (let made = 0; made < count; made++) {
    const { id } = await PolledDevice.enrol(rpc, service.enrolmentKey);
    await rpc.unary(DeviceService.method.updateDevice, { id, product, groups: { names: [group] } });
  }
  const { id: firmwareId } = await publish(service, newContent(100), { product, version: "1.1.0" });
  return { firmwareId, product, targeting: { groups: [group] } };
}

it("a rollout that is created with a preview's salt has the rings that it told, and warns as it starts", async () => {
  const { firmwareId, targeting } = await scene(5);
  const { body: preview } = await post("/api/v1/rollouts:preview", { firmwareId, targeting });
  expect(preview).toMatchObject({ salt: expect.stringMatching(/^[0-9a-f-]{36}$/), targetedCount: "5" });
  const missing = { code: "ROLLOUT_WARNING_CODE_ROLLBACK_TARGET_MISSING", count: "5" };
  expect(preview.warnings).toEqual(expect.arrayContaining([expect.objectContaining(missing)]));

  const wish = { firmwareId, targeting, salt: preview.salt };
  const { body: created } = await post("/api/v1/rollouts", wish);
  expect(created.rollout.salt).toBe(preview.salt);
  const taken = await post("/api/v1/rollouts", wish);
  expect(httpRefusal(taken)).toEqual({ code: "ALREADY_EXISTS", reason: "DUPLICATE", fields: ["salt"] });
  const { id } = created.rollout;
  const { body: again } = await post("/api/v1/rollouts:preview", { rolloutId: id });
  expect([again.salt, again.rings]).toEqual([preview.salt, preview.rings]);

  const { body: started } = await post(`/api/v1/rollouts/${id}:start`);
  expect(started.warnings).toEqual(expect.arrayContaining([expect.objectContaining(missing)]));
  await eventually(async () => {
    const { body } = await http(service, "GET", `/api/v1/rollouts/${id}`, { token: service.adminToken });
    const held = body.rollout.rings.map((ring: { census?: { devices: string } }) => ring.census?.devices);
    expect(held).toEqual(preview.rings.map(({ count }: { count: string }) => count));
  });
});

it("a deployment warns of what it starts, and takes no salt that is none", async () => {
  const { firmwareId, targeting } = await scene(2);
  const rpc = service.client();
  const salt = randomUUID().toUpperCase();
  const { rollout, warnings } = await rpc.unary(FirmwareService.method.deployFirmware, {
    id: firmwareId,
    targeting,
    salt,
  });
  expect(rollout?.salt).toBe(salt.toLowerCase());
  const codes = warnings.map(({ code }) => code);
  expect(codes).toContain(RolloutWarningCode.ROLLBACK_TARGET_MISSING);
  expect(warnings.every(({ message }) => message !== "")).toBe(true);
  const unheard = await post("/api/v1/rollouts:preview", { firmwareId, targeting, salt: "x" });
  expect(httpRefusal(unheard)).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["salt"] });
});

it("a gate that waits for an operator says so by an alert, with what mends it", async () => {
  const { firmwareId, product } = await scene(0);
  const rpc = service.client();
  const device = await PolledDevice.enrol(rpc, service.enrolmentKey);
  const group = await device.joinGroup(rpc, product);
  const gate = { minSample: 1, minSuccessPercent: 90, soakDuration: "0s", manual: true };
  const { body } = await post("/api/v1/rollouts", {
    firmwareId,
    targeting: { groups: [group] },
    policy: { verificationDuration: "0s" },
    rings: [
      { name: "canary", percent: 1, gate },
      { name: "all", percent: 100, gate },
    ],
  });
  const { id } = body.rollout;
  await post(`/api/v1/rollouts/${id}:start`);
  await device.update(service);
  const rollout = await eventually(async () => {
    await device.beat(service);
    const answer = await rpc.unary(RolloutService.method.getRollout, { id });
    expect(answer.rollout?.alert).toContain("the gate of ring canary holds, and is manual");
    return answer.rollout;
  });
  expect(rollout?.remedies[0]).toMatchObject({ action: RemedyAction.PROMOTE, rolloutId: id, ring: "all" });
  const { body: promoted } = await post(`/api/v1/rollouts/${id}:promote`);
  expect(promoted.rollout).toMatchObject({ alert: "", remedies: [] });
});
