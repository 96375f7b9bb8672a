import { createHash } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { FirmwareState } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { type Offer, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import {
  createFirmware,
  enrolDevice,
  newContent,
  publish,
  refusal,
  upload,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { metric } from "../support/streaming-device.ts";
import { ServiceProcess } from "./service-process.ts";

const { method } = FirmwareService;
const content = newContent(600_000);
const corrupt = { code: "DATA_LOSS", reason: "STORED_OBJECT_CORRUPT", fields: [] };

it("stored firmware that was damaged or lost is told of, given to nobody, and replaced by an upload", async () => {
  await using cleanup = new AsyncDisposableStack();
  const database = cleanup.use(await createTestDatabase());
  // Content is read every few seconds, and a device asks until it is told.
  const settings = { DEVICE_OTA_SCRUB_HOURS: "0.001", DEVICE_OTA_RATE_LIMIT_UPDATE_CHECK: "off" };
  const service = cleanup.use(await ServiceProcess.start(database.url, settings));
  const doors = {
    enrolmentKey: service.enrolmentKey,
    client: (token = service.adminToken) =>
      cleanup.use(new RpcClient({ address: service.grpcAddress, token })),
  };
  const rpc = doors.client();
  const { id, sha256, product } = await publish(doors, content);
  const deployed = await rpc.unary(method.deployFirmware, { id, rings: [{ name: "all", percent: 100 }] });
  const rolloutId = deployed.rollout?.id ?? "";
  const device = doors.client((await enrolDevice(doors)).token);
  const { offer } = await device.unary(UpdateService.method.checkForUpdate, { firmwareVersion: "1.0.0" });
  const told = async (expected: boolean) => {
    await eventually(async () => {
      const { firmware } = await rpc.unary(method.getFirmware, { id });
      expect(firmware?.damagedTime !== undefined).toBe(expected);
      expect(await metric(service.httpUrl, "device_ota_damaged_firmware_contents")).toBe(expected ? 1 : 0);
    });
  };
  expect(await download(device, offer)).toBe(sha256);

  const file = service.objectPath(sha256);
  const bytes = await readFile(file);
  bytes[400_000] = (bytes[400_000] ?? 0) ^ 1;
  await writeFile(file, bytes);
  expect(await refusal(download(device, offer))).toEqual(corrupt);
  // A part that is right in itself is not given either: nobody can know that.
  expect(await refusal(download(device, offer, 300_000n))).toEqual(corrupt);
  await told(true);

  // Nobody else is offered it, and nothing new is begun with it; what runs says so.
  const other = doors.client((await enrolDevice(doors)).token);
  const check = () => other.unary(UpdateService.method.checkForUpdate, { firmwareVersion: "1.0.0" });
  await eventually(async () => expect((await check()).offer).toBeUndefined());
  const isDamaged = { code: "FAILED_PRECONDITION", reason: "FIRMWARE_DAMAGED", fields: [] };
  const rings = [{ name: "all", percent: 100 }];
  expect(await refusal(rpc.unary(method.deployFirmware, { id, rings }))).toEqual(isDamaged);
  const created = rpc.unary(RolloutService.method.createRollout, { firmwareId: id, rings });
  expect(await refusal(created)).toEqual(isDamaged);
  const alert = async () =>
    (await rpc.unary(RolloutService.method.getRollout, { id: rolloutId })).rollout?.alert;
  await eventually(async () => expect(await alert()).toContain("is damaged or missing"));

  // The same bytes under another version do not rest on what is there because its size is right.
  const second = await createFirmware(rpc, content, { product, version: "1.2.0" });
  expect(second.state).toBe(FirmwareState.DRAFT);
  const { committedBytes } = await rpc.unary(method.getFirmwareUpload, { id });
  expect(committedBytes).toBe(0n);

  expect(await upload(rpc, id, content)).toMatchObject({
    committedBytes: BigInt(content.length),
    firmware: { state: FirmwareState.RELEASED },
  });
  expect(digestOf(await readFile(file))).toBe(sha256);
  expect(await download(device, offer)).toBe(sha256);
  expect(await download(device, offer, 300_000n)).toBe(digestOf(content.subarray(300_000)));
  await told(false);
  await eventually(async () => expect((await check()).offer).toBeDefined());
  await eventually(async () => expect(await alert()).not.toContain("is damaged or missing"));
  expect((await createFirmware(rpc, content, { product, version: "1.3.0" })).state).toBe(
    FirmwareState.UPLOADED,
  );

  // Nobody asks for it: the service finds it by itself.
  await rm(file);
  await told(true);
  await upload(rpc, id, content);
  expect(digestOf(await readFile(file))).toBe(sha256);
  await told(false);
  expect(await download(device, offer)).toBe(sha256);
});

/** The digest of what a device gets. */
async function download(device: RpcClient, offer: Offer | undefined, offset = 0n): Promise<string> {
  const hash = createHash("sha256");
  const request = { updateId: offer?.updateId ?? "", offset };
  for await (const { message } of device.serverStream(UpdateService.method.downloadFirmware, request))
    if (message.case === "chunk") hash.update(message.value.data);
  return hash.digest("hex");
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
