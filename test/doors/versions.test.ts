import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { NoOfferReason } from "../../gen/ota/v1/update_service_pb.js";
import {
  createFirmware,
  type HttpAnswer,
  http,
  httpRefusal,
  newContent,
  publish,
  refusal,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** What devices really report as their version, through the doors: RAUC and SWUpdate builds, calendars, integers, tags. */

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

function post(path: string, body: object = {}): Promise<HttpAnswer> {
  return http(service, "POST", `/api/v1${path}`, { token: service.adminToken, body });
}

function get(path: string): Promise<HttpAnswer> {
  return http(service, "GET", `/api/v1${path}`, { token: service.adminToken });
}

/** A device of a product, in a group of its own, that enrolled with this version and was heard with it. */
async function deviceOn(
  version: string,
  product = `app-${randomUUID()}`,
): Promise<{ device: PolledDevice; group: string }> {
  const rpc = service.client();
  const device = await PolledDevice.enrol(rpc, service.enrolmentKey, version);
  const group = await device.joinGroup(rpc, product);
  await device.beat(service);
  return { device, group };
}

const gate = { minSample: 1, minSuccessPercent: 0, soakDuration: "0s", manual: true };

/** A rollout to the group that runs and watches no device. */
async function roll(firmwareId: string, group: string, targeting: object = {}): Promise<string> {
  const { body } = await post("/rollouts", {
    firmwareId,
    targeting: { groups: [group], ...targeting },
    policy: { verificationDuration: "0s", failureThresholdPercent: 100 },
    rings: [
      { name: "first", percent: 1, gate },
      { name: "all", percent: 100, gate },
    ],
  });
  const id = String(body.rollout.id);
  expect((await post(`/rollouts/${id}:start`)).status).toBe(200);
  return id;
}

async function updateOf(id: string): Promise<Record<string, string>> {
  const { body } = await get(`/rollouts/${id}/deviceUpdates`);
  return body.deviceUpdates[0];
}

/** Waits until the device's update ended as a success. */
async function expectSuccess(id: string, device: PolledDevice): Promise<void> {
  await eventually(async () => {
    await device.beat(service);
    expect(await updateOf(id)).toMatchObject({ state: "DEVICE_UPDATE_STATE_SUCCEEDED" });
  });
}

async function reasonFor(device: PolledDevice): Promise<string | undefined> {
  const { offer, noOfferReason } = await device.check(service);
  return offer === undefined ? NoOfferReason[noOfferReason] : `offer of ${offer.version}`;
}

describe("an update", () => {
  it.each([
    ["1.0.0+git.aaa", "1.1.0+git.bbb"],
    ["v1.0.0", "V1.1.0"],
  ])("from %s is proven by %s, and rolled back to where it came from", async (before, after) => {
    const product = `app-${randomUUID()}`;
    const base = await publish(service, newContent(100), { product, version: "1.0.0" });
    const next = await publish(service, newContent(100), { product, version: "1.1.0" });
    const { device, group } = await deviceOn(before, product);
    const id = await roll(next.id, group);
    await device.update(service, after);
    await expectSuccess(id, device);
    device.forget();
    expect(await reasonFor(device)).toBe("UP_TO_DATE");
    expect((await post(`/rollouts/${id}:rollback`, { reason: "a test" })).status).toBe(200);
    const back = await eventually(() => device.expectOffer(service));
    expect(back).toMatchObject({ firmwareId: base.id, version: "1.0.0" });
  });

  it.each([
    ["2024.07.2", "2024.08.1"],
    ["1.0.1.0", "1.0.2.0"],
    ["34105904", "34105905"],
    ["8.8.1-11-g8c926e5+188370", "8.8.1-12-g0b1f6aa+188412"],
    ["2016.08-1", "2016.09-1"],
    ["0.1", "0.2"],
  ])(
    "from %s to %s is served, proven and rolled back by the texts that its firmware names",
    async (old, fresh) => {
      const product = `app-${randomUUID()}`;
      const base = await publish(service, newContent(100), {
        product,
        version: "1.0.0",
        reportedVersions: [old],
      });
      const next = await publish(service, newContent(100), {
        product,
        version: "1.1.0",
        reportedVersions: [fresh],
      });
      const { device, group } = await deviceOn(old, product);
      // The range is one of versions, and the device's is 1.0.0.
      const id = await roll(next.id, group, { currentVersionRange: "<1.1.0" });
      await device.update(service, fresh);
      await expectSuccess(id, device);
      device.forget();
      expect(await reasonFor(device)).toBe("UP_TO_DATE");
      expect((await post(`/rollouts/${id}:rollback`, { reason: "a test" })).status).toBe(200);
      const back = await eventually(() => device.expectOffer(service));
      expect(back).toMatchObject({ firmwareId: base.id, version: "1.0.0" });
    },
  );

  it("is proven as soon as its firmware names what the device reports", async () => {
    const product = `app-${randomUUID()}`;
    const next = await publish(service, newContent(100), { product, version: "1.1.0" });
    const { device, group } = await deviceOn("1.0.0", product);
    const id = await roll(next.id, group);
    await eventually(() => device.expectOffer(service));
    const named = await http(service, "PUT", `/api/v1/firmware/${next.id}`, {
      token: service.adminToken,
      body: { reportedVersions: { texts: ["build 7"] } },
    });
    expect(named.body.firmware.reportedVersions).toEqual(["build 7"]);
    // The replica has read it when it knows the text of another device.
    const { device: other } = await deviceOn("build 7", product);
    await eventually(async () => expect(await reasonFor(other)).toBe("UP_TO_DATE"));
    await device.update(service, "build 7");
    await expectSuccess(id, device);
  });
});

describe("a version that nothing explains", () => {
  it.each(["2031.08.1", "9.0.1.0", "77105904", "2031.08-1", "9.1", "factory image"])(
    "such as %s is never up to date",
    async (version) => {
      const { device } = await deviceOn(version);
      const { noOfferReason, message } = await device.check(service);
      expect(NoOfferReason[noOfferReason]).toBe("VERSION_UNKNOWN");
      expect(message).toContain(JSON.stringify(version));
      expect(message).toContain("reported versions");
    },
  );

  it("is held back by a range, and explained until a firmware names it", async () => {
    const product = `app-${randomUUID()}`;
    const base = await publish(service, newContent(100), { product, version: "1.0.0" });
    const next = await publish(service, newContent(100), { product, version: "1.1.0" });
    const { device, group } = await deviceOn("R2024b", product);
    const id = await roll(next.id, group, { currentVersionRange: ">=1.0.0" });
    await eventually(async () => expect(await reasonFor(device)).toBe("VERSION_UNKNOWN"));
    const explained = await get(`/rollouts/${id}/devices/${device.id}:explain`);
    expect(explained.body).toMatchObject({ noOfferReason: "NO_OFFER_REASON_VERSION_UNKNOWN" });
    expect(explained.body.summary).toContain('"R2024b"');
    const preview = await post("/rollouts:preview", {
      firmwareId: next.id,
      targeting: { groups: [group], currentVersionRange: ">=1.0.0" },
    });
    expect(preview.body.heldBack).toEqual([
      expect.objectContaining({ reason: "NO_OFFER_REASON_VERSION_UNKNOWN", count: "1" }),
    ]);
    await service.client().unary(FirmwareService.method.updateFirmware, {
      id: base.id,
      reportedVersions: { texts: ["R2024b"] },
    });
    await eventually(async () => expect(await reasonFor(device)).toBe("offer of 1.1.0"));
  });
});

describe("two firmwares of a product", () => {
  it("cannot be of equal precedence, nor claim one text", async () => {
    const client = service.client();
    const product = `app-${randomUUID()}`;
    const create = (version: string, reportedVersions: string[] = []) =>
      createFirmware(client, newContent(), { product, version, reportedVersions });
    await create("1.0.0", ["2024.07.1", "v0.9.0"]);
    expect(await refusal(create("1.0.0"))).toMatchObject({ code: "ALREADY_EXISTS", reason: "DUPLICATE" });
    for (const [version, reported, field] of [
      ["1.0.0+git.abc", [], "version"],
      ["v1.0.0", [], "version"],
    ] as const) {
      expect(await refusal(create(version, [...reported]))).toMatchObject({
        reason: "INVALID_VERSION",
        fields: [field],
      });
    }
    for (const [version, reported, field] of [
      // Devices that report 0.9.0 run 1.0.0.
      ["0.9.0", [], "version"],
      ["1.1.0", ["2024.08.1", "2024.07.1"], "reported_versions[1]"],
      ["1.1.0", ["1.0.0+git.abc"], "reported_versions[0]"],
    ] as const) {
      expect(await refusal(create(version, [...reported]))).toMatchObject({
        code: "ALREADY_EXISTS",
        reason: "DUPLICATE",
        fields: [field],
      });
    }
    const other = await create("1.1.0", ["2024.08.1"]);
    const change = { id: other.id, reportedVersions: { texts: ["2024.07.1"] } };
    expect(await refusal(client.unary(FirmwareService.method.updateFirmware, change))).toMatchObject({
      reason: "DUPLICATE",
      fields: ["reported_versions[0]"],
    });
    // What is deleted claims nothing.
    await client.unary(FirmwareService.method.deleteFirmware, { id: other.id });
    await create("1.2.0", ["2024.08.1"]);
  });

  it("are not made by two operators at once", async () => {
    const client = service.client();
    const product = `app-${randomUUID()}`;
    const outcomes = await Promise.allSettled(
      [1, 2, 3, 4].map((minor) =>
        createFirmware(client, newContent(), {
          product,
          version: `1.${minor}.0`,
          reportedVersions: ["2024.08.1"],
        }),
      ),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });
});

describe("reported texts", () => {
  it("with a character that cannot be kept are refused with their field", async () => {
    const body = {
      product: "app",
      version: "1.0.0",
      deviceTypes: ["lamp"],
      sha256: "a".repeat(64),
      sizeBytes: 1,
      reportedVersions: ["1.0", "1.0\0"],
    };
    const answer = await post("/firmware", body);
    expect(answer.status).toBe(400);
    expect(httpRefusal(answer)).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["reportedVersions[1]"] });
  });
});

describe("devices on one version", () => {
  it("are found and counted together, whatever they write for it", async () => {
    const devices = await Promise.all(["7.1.0", "v7.1.0", "7.1.0+git.a"].map((version) => deviceOn(version)));
    const ids = devices.map(({ device }) => device.id).toSorted();
    const found = async (query: string): Promise<string[]> =>
      (await get(`/devices?${query}`)).body.devices.map(({ id }: { id: string }) => id).toSorted();
    await eventually(async () => {
      for (const version of ["7.1.0", "V7.1.0+x"]) {
        expect(await found(`firmwareVersions=${encodeURIComponent(version)}`)).toEqual(ids);
        const filter = encodeURIComponent(`firmware_version = "${version}"`);
        expect(await found(`filter=${filter}`)).toEqual(ids);
      }
      const { body } = await get("/devices/status");
      expect(body.firmwareVersions).toContainEqual({ name: "7.1.0", count: "3" });
    });
    const odd = await deviceOn("2031.01.1");
    await eventually(async () => {
      expect(await found(`filter=${encodeURIComponent('firmware_version = "2031.01.1"')}`)).toEqual([
        odd.device.id,
      ]);
    });
  });
});
