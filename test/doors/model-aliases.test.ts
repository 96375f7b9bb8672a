import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { NoOfferReason, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { enrolDevice, newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

const { createModelAlias, deleteModelAlias, listModelAliases } = DeviceService.method;

/** A rollout that runs, for a model that a device reports under another name. */
async function scene() {
  const client = service.client();
  const type = `board ${randomUUID()}`;
  const model = `rpi4-b ${type.slice(6, 14)}`;
  const alias = `Raspberry Pi 4 Model B Rev 1.4 (${type.slice(6, 14)})`;
  const { id: deviceId, token } = await enrolDevice(service, { deviceType: type, hardwareModel: alias });
  const firmware = await publish(service, newContent(), {
    product: `os-${type.slice(6)}`,
    version: "1.1.0",
    deviceTypes: [type],
    hardwareModels: [model],
  });
  const deploy = {
    id: firmware.id,
    rings: [{ name: "all", percent: 100 }],
    targeting: { hardwareModels: [model] },
  };
  const { rollout } = await client.unary(FirmwareService.method.deployFirmware, deploy);
  return {
    client,
    model,
    alias,
    deviceId,
    firmwareId: firmware.id,
    rolloutId: rollout?.id ?? "",
    check: async () => {
      const asking = { firmwareVersion: "1.0.0", bootId: "b" };
      const answer = await service.client(token).unary(UpdateService.method.checkForUpdate, asking);
      return answer.offer?.version ?? NoOfferReason[answer.noOfferReason];
    },
  };
}

describe("an alias of a hardware model", () => {
  it("stands for the model in rollouts that run, in previews, filters and lists", async () => {
    const { client, model, alias, deviceId, rolloutId, check } = await scene();
    expect(await check()).toBe("UP_TO_DATE");
    const { modelAlias } = await client.unary(createModelAlias, { alias, hardwareModel: model });
    expect(modelAlias).toMatchObject({ alias, hardwareModel: model });
    await eventually(async () => {
      const { targetedCount } = await client.unary(RolloutService.method.previewRollout, { rolloutId });
      expect(targetedCount).toBe(1n);
    });
    expect((await client.unary(RolloutService.method.explainUpdate, { rolloutId, deviceId })).offered).toBe(
      true,
    );
    expect(await check()).toBe("1.1.0");
    const found = async (filter: string) =>
      (await client.unary(DeviceService.method.listDevices, { filter })).devices.map(({ id }) => id);
    expect(await found(`hardware_model = "${model}"`)).toEqual([deviceId]);
    expect(await found(`hardware_model != "${model}" serial_number:*`)).not.toContain(deviceId);
    const listed = await client.unary(DeviceService.method.listDevices, { hardwareModels: [model] });
    expect(listed.devices).toMatchObject([{ id: deviceId, hardwareModel: alias }]);
    const { modelAliases } = await client.unary(listModelAliases, {});
    expect(modelAliases).toContainEqual(expect.objectContaining({ alias, hardwareModel: model }));
    const { events } = await client.unary(AccessService.method.listAuditEvents, { resourceId: alias });
    expect(events).toMatchObject([{ action: "model_alias.create", details: { hardware_model: model } }]);
  });

  it("may be named by the targeting, and stands for the model no more once it is taken away", async () => {
    const { client, model, alias, firmwareId, check } = await scene();
    await client.unary(createModelAlias, { alias, hardwareModel: model });
    // The same again changes nothing.
    await client.unary(createModelAlias, { alias, hardwareModel: model });
    const targeting = { hardwareModels: [alias] };
    await eventually(async () => {
      const preview = await client.unary(RolloutService.method.previewRollout, { firmwareId, targeting });
      expect(preview.targetedCount).toBe(1n);
    });
    await client.unary(deleteModelAlias, { alias });
    await eventually(async () => expect(await check()).toBe("UP_TO_DATE"));
    await expect(client.unary(deleteModelAlias, { alias })).rejects.toMatchObject({ reason: "NOT_FOUND" });
  });

  it("has one model, and no aliases of its own", async () => {
    const client = service.client();
    const [a, b, c] = [randomUUID(), randomUUID(), randomUUID()];
    await client.unary(createModelAlias, { alias: a, hardwareModel: b });
    const refused = async (alias: string, hardwareModel: string) =>
      await client.unary(createModelAlias, { alias, hardwareModel }).then(
        () => "taken",
        ({ reason, field }) => `${reason} ${field ?? ""}`.trim(),
      );
    expect(await refused(a, c)).toContain("DUPLICATE");
    expect(await refused(c, a)).toContain("INVALID");
    expect(await refused(b, c)).toContain("INVALID");
    expect(await refused(a, a)).toContain("INVALID");
    expect(await refused("a\u0000b", c)).toContain("INVALID");
  });
});
