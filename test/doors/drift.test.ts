import { expect, it } from "vitest";
import { type HttpAnswer, http, newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { startTestService } from "../support/service.ts";

it("a device that falls back after its update succeeded is counted, listed and told, and mended by an operator", async () => {
  await using service = await startTestService();
  const call = (method: "GET" | "POST", path: string, body?: object): Promise<HttpAnswer> =>
    http(service, method, `/api/v1${path}`, {
      token: service.adminToken,
      ...(body === undefined ? {} : { body }),
    });
  const rpc = service.client();
  const product = "drifts";
  await publish(service, newContent(100), { product, version: "1.0.0" });
  const { id: firmwareId } = await publish(service, newContent(100), { product, version: "1.1.0" });
  const device = await PolledDevice.enrol(rpc, service.enrolmentKey, "1.0.0");
  const deployed = await call("POST", `/firmware/${firmwareId}/deploy`, {
    policy: { verificationDuration: "0s" },
    rings: [{ name: "all", percent: 100, gate: { soakDuration: "0s" } }],
  });
  const id = String(deployed.body.rollout.id);
  await device.update(service);
  device.forget();
  const rollout = async () => (await call("GET", `/rollouts/${id}`)).body.rollout;
  const counters = async () => (await rollout()).rings[0].counters;
  const succeeded = { offered: "1", succeeded: "1", inProgress: "0" };
  await eventually(async () => expect(await counters()).toMatchObject({ ...succeeded, drifted: "0" }));

  await device.reboot(service, "1.0.0");
  await eventually(async () => {
    expect(await counters()).toMatchObject({ ...succeeded, drifted: "1" });
    expect((await rollout()).alert).toMatch(/^drift: 1 device/);
    expect(await (await fetch(`${service.httpUrl}/metrics`)).text()).toContain(
      "device_ota_drifted_devices 1",
    );
  });
  const listed = await call("GET", `/rollouts/${id}/deviceUpdates?drifted=true`);
  expect(listed.body.deviceUpdates).toMatchObject([{ deviceId: device.id, driftVersion: "1.0.0" }]);

  const retried = await call("POST", `/rollouts/${id}:retryDevice`, { deviceId: device.id });
  expect(retried.body.effect).toMatchObject({ unchanged: false, retryCount: "1" });
  await device.update(service);
  device.forget();
  await eventually(async () => {
    expect(await counters()).toMatchObject({ ...succeeded, drifted: "0" });
    expect((await rollout()).alert).toBe("");
  });

  const refused = await call("POST", `/rollouts/${id}:retryDevice`, { deviceId: device.id });
  expect(refused.status).toBe(400);
  await call("POST", `/rollouts/${id}:retryDevice`, { deviceId: device.id, reinstall: true });
  const offer = await eventually(() => device.expectOffer(service));
  expect(offer).toMatchObject({ version: "1.1.0", reinstall: true });
  await device.update(service);
  await eventually(async () => expect(await counters()).toMatchObject(succeeded));
});
