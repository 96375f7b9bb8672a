import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceUpdateState } from "../../gen/ota/v1/rollout_pb.js";
import { type HttpAnswer, http, newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** An update that bricks devices, through the doors: what a canary ring is for. */

let service: TestService;
beforeAll(async () => {
  service = await startTestService({ settings: { DEVICE_OTA_REQUIRE_SIGNATURE: "false" } });
});
afterAll(() => service[Symbol.asyncDispose]());

function post(path: string, body: object = {}): Promise<HttpAnswer> {
  return http(service, "POST", `/api/v1${path}`, { token: service.adminToken, body });
}

function get(path: string): Promise<HttpAnswer> {
  return http(service, "GET", `/api/v1${path}`, { token: service.adminToken });
}

const policy = { verificationDuration: "1s", returnDuration: "3s" };

const rings = [
  { name: "canary", percent: 60, gate: { soakDuration: "2s" } },
  { name: "all", percent: 100, gate: { soakDuration: "2s" } },
];

describe("devices that never come back from their reboot", () => {
  it("stop the rollout in the canary, and are listed as missing", async () => {
    const rpc = service.client();
    const product = "bricks";
    await publish(service, newContent(100), { product, version: "1.0.0" });
    const { id: firmwareId } = await publish(service, newContent(100), { product, version: "1.1.0" });
    const fleet: PolledDevice[] = [];
    for (let at = 0; at < 20; at++) fleet.push(await PolledDevice.enrol(rpc, service.enrolmentKey, "1.0.0"));
    const { body } = await post("/rollouts", {
      firmwareId,
      policy: { ...policy, pauseOnFailure: true },
      rings,
    });
    const id = String(body.rollout.id);
    expect((await post(`/rollouts/${id}:start`)).status).toBe(200);
    const dead = new Set<PolledDevice>();
    const well = new Set<PolledDevice>();
    const rollout = await eventually(async () => {
      for (const device of fleet) {
        if (dead.has(device)) continue;
        if (well.has(device)) {
          await device.beat(service);
          continue;
        }
        const { offer } = await device.check(service);
        if (offer === undefined) continue;
        // One in four comes back; the others reboot for good.
        if ((well.size + dead.size) % 4 === 0) {
          await device.update(service, "1.1.0");
          well.add(device);
        } else {
          await device.expectOffer(service);
          await device.report(service, DeviceUpdateState.REBOOTING);
          dead.add(device);
        }
      }
      const { rollout: now } = (await get(`/rollouts/${id}`)).body;
      expect(now.state).toBe("ROLLOUT_STATE_PAUSED");
      return now;
    });
    const [canary, all] = rollout.rings;
    expect(all.state).toBe("RING_STATE_WAITING");
    expect(rollout.stateReason).toMatch(/ring canary: of \d+ devices that began, \d+ are missing/);
    expect(dead.size + well.size).toBeLessThan(fleet.length);
    expect(canary.counters).toMatchObject({ failed: "0", began: String(dead.size + well.size) });
    await eventually(async () => {
      // On a busy machine they may have been silent for too long as well, and come back.
      for (const device of well) await device.beat(service);
      const listed = (await get(`/rollouts/${id}/deviceUpdates?missing=true&pageSize=100`)).body;
      const ids = listed.deviceUpdates.map(({ deviceId }: { deviceId: string }) => deviceId);
      expect(ids.toSorted()).toEqual([...dead].map((device) => device.id).toSorted());
    });
  });
});
