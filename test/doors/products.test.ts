import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { UpdateKind } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { NoOfferReason, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { newContent, publish } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

/** A device type of its own, of which `os` 3.0.0 and 3.1.0 are released, and a bootloader 4.0.0 that is being rolled out. */
async function scene() {
  const type = `board ${randomUUID()}`;
  const deviceTypes = [type];
  const client = service.client();
  const name = (product: string) => `${product}-${type.slice(6)}`;
  await publish(service, newContent(), { product: name("os"), version: "3.0.0", deviceTypes });
  const os = await publish(service, newContent(), { product: name("os"), version: "3.1.0", deviceTypes });
  const boot = await publish(service, newContent(), { product: name("boot"), version: "4.0.0", deviceTypes });
  const rings = [{ name: "all", percent: 100 }];
  const deploy = async (id: string) =>
    (await client.unary(FirmwareService.method.deployFirmware, { id, rings })).rollout?.id ?? "";
  const bootRollout = await deploy(boot.id);
  return {
    name,
    deviceTypes,
    bootRollout,
    deployOs: () => deploy(os.id),
    deploy,
    enrol: async (firmwareVersion: string, product = "") => {
      const { device, deviceToken } = await client.unary(DeviceService.method.enrolDevice, {
        requestId: randomUUID(),
        enrolmentKey: service.enrolmentKey,
        serialNumber: `sn-${randomUUID()}`,
        deviceType: type,
        hardwareModel: "rev a",
        firmwareVersion,
        product,
      });
      const id = device?.id ?? "";
      return {
        id,
        product: device?.product,
        check: async () => {
          const answer = await service
            .client(deviceToken)
            .unary(UpdateService.method.checkForUpdate, { firmwareVersion, bootId: "b" });
          return answer.offer?.version ?? NoOfferReason[answer.noOfferReason];
        },
        explain: async () =>
          await client.unary(RolloutService.method.explainUpdate, { rolloutId: bootRollout, deviceId: id }),
      };
    },
  };
}

describe("a firmware of another product", () => {
  it("is no update of a device whose version is one of its own product", async () => {
    const { enrol, deployOs, name } = await scene();
    const device = await enrol("3.0.0");
    expect(await device.check()).toBe("UP_TO_DATE");
    const { noOfferReason: reason, rules } = await device.explain();
    expect(reason).toBe(NoOfferReason.NOT_TARGETED);
    expect(rules.find((rule) => rule.name === "product")).toMatchObject({
      holds: false,
      required: name("boot"),
      actual: `${name("os")}, by its version`,
    });
    await deployOs();
    expect(await device.check()).toBe("3.1.0");
  });

  it("is held back from a device of which nothing tells the product, until it or somebody says", async () => {
    const { enrol, name, deployOs } = await scene();
    await deployOs();
    const device = await enrol("2.0.0");
    expect(await device.check()).toBe("PRODUCT_UNKNOWN");
    const { noOfferReason: reason, summary: message } = await device.explain();
    expect(reason).toBe(NoOfferReason.PRODUCT_UNKNOWN);
    expect(message).toContain(`${name("boot")} or ${name("os")}`);

    await service.client().unary(DeviceService.method.updateDevice, { id: device.id, product: name("boot") });
    expect(await device.check()).toBe("4.0.0");
    // It was somebody's mistake: the offer that came of it is taken back at once.
    const { device: corrected } = await service
      .client()
      .unary(DeviceService.method.updateDevice, { id: device.id, product: name("os") });
    expect(corrected?.product).toBe(name("os"));
    expect(await device.check()).toBe("3.1.0");

    const told = await enrol("2.0.0", name("os"));
    expect(told.product).toBe(name("os"));
    expect(await told.check()).toBe("3.1.0");
  });

  it("counts in a preview as what it is", async () => {
    const { enrol, bootRollout } = await scene();
    for (const version of ["3.0.0", "2.0.0"]) await enrol(version);
    const { targetedCount, readyCount, heldBack } = await service
      .client()
      .unary(RolloutService.method.previewRollout, { rolloutId: bootRollout });
    expect([targetedCount, readyCount]).toEqual([1n, 0n]);
    expect(heldBack).toEqual([expect.objectContaining({ reason: NoOfferReason.PRODUCT_UNKNOWN, count: 1n })]);
  });

  it("is an update all the same if it is a component of the device", async () => {
    const { enrol, deploy, deviceTypes, name } = await scene();
    const component = await publish(service, newContent(), {
      product: name("boot-image"),
      version: "4.0.0",
      kind: UpdateKind.APPLICATION,
      component: "bootloader",
      deviceTypes,
    });
    await deploy(component.id);
    const device = await enrol("3.0.0");
    expect(await device.check()).toBe("4.0.0");
  });
});
