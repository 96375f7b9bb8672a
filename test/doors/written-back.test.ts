import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import {
  connectClient,
  enrolDevice,
  http,
  httpRefusal,
  newContent,
  publish,
  refusal,
} from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Resources that are read, changed and written back. */

let service: TestService;
let firmwareId: string;
let rolloutId: string;
let deviceId: string;
beforeAll(async () => {
  service = await startTestService();
  const client = service.client();
  ({ id: firmwareId } = await publish(service, newContent(1_000)));
  const { rollout } = await client.unary(RolloutService.method.createRollout, { firmwareId });
  rolloutId = rollout?.id ?? "";
  ({ id: deviceId } = await enrolDevice(service));
});
afterAll(() => service[Symbol.asyncDispose]());

// oxlint-disable-next-line typescript/no-explicit-any -- looked into freely
async function read(path: string): Promise<any> {
  return (await http(service, "GET", path, { token: service.adminToken })).body;
}

function write(method: "PUT" | "PATCH", path: string, body: unknown) {
  return http(service, method, path, { token: service.adminToken, body });
}

const firmware = () => `/api/v1/firmware/${firmwareId}`;

describe("a firmware", () => {
  it("can be put back as it was read, which changes nothing, though it is released", async () => {
    const { firmware: before } = await read(firmware());
    const { status, body } = await write("PUT", firmware(), await read(firmware()));
    expect(status).toBe(200);
    expect(body.firmware).toEqual({ ...before, updateTime: body.firmware.updateTime });
  });

  it("is replaced by what was read, edited and put back, as far as it can be changed", async () => {
    const { firmware: before } = await read(firmware());
    const edited = {
      ...before,
      releaseNotes: "edited",
      metadata: { a: "b" },
      minBatteryPercent: 20,
      version: "9.9.9",
    };
    const { status, body } = await write("PUT", firmware(), { firmware: edited });
    expect(status).toBe(200);
    expect(body.firmware).toMatchObject({
      releaseNotes: "edited",
      metadata: { a: "b" },
      minBatteryPercent: 20,
      version: before.version,
    });
    const { etag } = body.firmware;
    expect(etag).not.toBe(before.etag);
    // Nothing is left of what a replacement does not have.
    const emptied = await write("PUT", firmware(), {
      firmware: {
        etag,
        deviceTypes: before.deviceTypes,
        hardwareModels: before.hardwareModels,
        minCurrentVersion: before.minCurrentVersion,
      },
    });
    expect(emptied.body.firmware).toMatchObject({ releaseNotes: "", metadata: {}, minBatteryPercent: 0 });
  });

  it("that changed since it was read is left alone", async () => {
    const { firmware: stale } = await read(firmware());
    await write("PATCH", firmware(), { firmware: { releaseNotes: randomUUID() } });
    const refused = await write("PUT", firmware(), { firmware: { ...stale, releaseNotes: "lost update" } });
    expect(refused.status).toBe(409);
    expect(httpRefusal(refused)).toMatchObject({ code: "ABORTED", reason: "ETAG_MISMATCH" });
    expect((await read(firmware())).firmware.releaseNotes).not.toBe("lost update");
  });

  it("is patched by what stands in the body, or by a mask in body or query", async () => {
    await write("PATCH", firmware(), { firmware: { releaseNotes: "one", minBatteryPercent: 30 } });
    await write("PATCH", firmware(), { firmware: { release_notes: "" } });
    expect((await read(firmware())).firmware).toMatchObject({ releaseNotes: "", minBatteryPercent: 30 });
    const { firmware: before } = await read(firmware());
    const edited = { ...before, releaseNotes: "two", minBatteryPercent: 31 };
    for (const mask of ["release_notes", "releaseNotes"]) {
      const { status } = await write("PATCH", `${firmware()}?updateMask=${mask}`, {
        firmware: { ...edited, etag: "" },
      });
      expect(status).toBe(200);
    }
    expect((await read(firmware())).firmware).toMatchObject({ releaseNotes: "two", minBatteryPercent: 30 });
    await write("PATCH", firmware(), {
      firmware: { metadata: { a: "c" } },
      updateMask: "metadata,minBatteryPercent",
    });
    expect((await read(firmware())).firmware).toMatchObject({
      releaseNotes: "two",
      minBatteryPercent: 0,
      metadata: { a: "c" },
    });
    // Fields of the request itself, as before, and with a mask.
    await write("PATCH", `${firmware()}?update_mask=release_notes`, {
      releaseNotes: "three",
      minBatteryPercent: 40,
    });
    expect((await read(firmware())).firmware).toMatchObject({ releaseNotes: "three", minBatteryPercent: 0 });
  });

  it("is not changed by a mask that names what cannot be, nor by what is said both ways", async () => {
    const wrong = await write("PATCH", `${firmware()}?updateMask=version`, {
      firmware: { version: "2.0.0" },
    });
    expect(httpRefusal(wrong)).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["updateMask"] });
    expect(wrong.body.message).toContain("release_notes");
    const twice = await write("PUT", firmware(), { releaseNotes: "a", firmware: { releaseNotes: "b" } });
    expect(httpRefusal(twice)).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["releaseNotes"] });
    const covered = await write("PATCH", firmware(), { firmware: { deviceTypes: ["other"] } });
    expect(httpRefusal(covered)).toMatchObject({ reason: "FIRMWARE_IMMUTABLE" });
    const tooLong = await write("PATCH", firmware(), { firmware: { releaseNotes: "x".repeat(20_001) } });
    expect(httpRefusal(tooLong)).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["releaseNotes"] });
  });

  it("is changed so by gRPC and Connect as well: without a mask by what is not empty", async () => {
    const client = service.client();
    const { firmware: before } = await client.unary(FirmwareService.method.getFirmware, { id: firmwareId });
    if (before === undefined) throw new Error("there is no firmware");
    before.releaseNotes = "by gRPC";
    await client.unary(FirmwareService.method.updateFirmware, { id: firmwareId, firmware: before });
    const connect = connectClient(service, FirmwareService, service.adminToken);
    const updateMask = { paths: ["min_battery_percent"] };
    const { firmware: after } = await connect.updateFirmware({
      id: firmwareId,
      firmware: { minBatteryPercent: 50, releaseNotes: "left out" },
      updateMask,
    });
    expect(after).toMatchObject({ releaseNotes: "by gRPC", minBatteryPercent: 50 });
    const stale = client.unary(FirmwareService.method.updateFirmware, { id: firmwareId, firmware: before });
    expect(await refusal(stale)).toMatchObject({ code: "ABORTED", reason: "ETAG_MISMATCH" });
    const wrong = client.unary(FirmwareService.method.updateFirmware, {
      id: firmwareId,
      firmware: before,
      updateMask: { paths: ["sha256"] },
    });
    expect(await refusal(wrong)).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["update_mask"] });
  });
});

describe("a rollout", () => {
  it("can be patched with what was read and edited, as long as it has not changed", async () => {
    const path = `/api/v1/rollouts/${rolloutId}`;
    const { rollout: before } = await read(path);
    const rings = before.rings.map((ring: object) => ({ ...ring, metadata: { edited: "yes" } }));
    const edited = { ...before, name: "edited", metadata: { a: "b" }, rings };
    const { status, body } = await write("PATCH", path, { rollout: edited });
    expect(status).toBe(200);
    expect(body.rollout).toMatchObject({ name: "edited", metadata: { a: "b" } });
    expect(body.rollout.rings[0].metadata).toEqual({ edited: "yes" });
    const stale = await write("PATCH", path, { rollout: { ...edited, name: "lost update" } });
    expect(httpRefusal(stale)).toMatchObject({ code: "ABORTED" });
    const named = await write("PATCH", `${path}?updateMask=name`, {
      rollout: { ...body.rollout, name: "named", metadata: {} },
    });
    expect(named.body.rollout).toMatchObject({ name: "named", metadata: { a: "b" } });
  });
});

describe("a device", () => {
  it("can be patched with what was read and edited; what holds by default stays nobody's word", async () => {
    const path = `/api/v1/devices/${deviceId}`;
    const { device: before } = await read(path);
    const edited = { ...before, displayName: "edited", groups: ["a"], tags: ["b"], metadata: { c: "d" } };
    const { status, body } = await write("PATCH", path, { device: edited });
    expect(status).toBe(200);
    const { device } = await read(path);
    expect(device).toEqual({ ...edited, updateTime: body.device.updateTime });
    await write("PATCH", `${path}?updateMask=expected_interval`, { device: { expectedInterval: "90s" } });
    expect((await read(path)).device).toMatchObject({
      expectedInterval: "90s",
      expectedIntervalSource: "EXPECTED_INTERVAL_SOURCE_OPERATOR",
      displayName: "edited",
    });
    await service.client().unary(DeviceService.method.updateDevice, {
      id: deviceId,
      device: {},
      updateMask: { paths: ["expected_interval", "display_name", "groups"] },
    });
    expect((await read(path)).device).toMatchObject({
      expectedIntervalSource: before.expectedIntervalSource,
      displayName: "",
      groups: [],
      tags: ["b"],
    });
  });
});
