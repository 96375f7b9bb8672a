import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { http, httpRefusal, newContent, publish } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

/** Enrols a device over REST. */
function enrol(overrides: Record<string, string>) {
  return http(service, "POST", "/api/v1/devices:enrol", {
    body: {
      requestId: randomUUID(),
      enrolmentKey: service.enrolmentKey,
      serialNumber: `sn ${randomUUID()}`,
      deviceType: "board",
      hardwareModel: "m",
      firmwareVersion: "1.0.0",
      ...overrides,
    },
  });
}

/** As people write a value in a filter. */
function quoted(value: string): string {
  return `"${value.replaceAll(/["\\*]/g, String.raw`\$&`)}"`;
}

describe("a name as makers write it", () => {
  it.each([
    ["with blanks", "TRADFRI bulb E27 WS opal 980lm"],
    ["with a comma", "toradex,verdin-imx8mp"],
    ["with brackets", "NVIDIA Jetson AGX Orin (64GB)"],
    ["with a slash", "vexpress/qemu"],
    ["with a star, a colon and a quotation mark of one stroke", "a*b:c'd"],
    ["of another script", "温度センサー"],
  ])("%s names type, model and serial number from enrolment to update", async (_kind, name) => {
    const deviceType = `${name} type`;
    const enrolled = await enrol({ serialNumber: `${name} 7`, deviceType, hardwareModel: name });
    expect(enrolled.body).toMatchObject({
      device: { serialNumber: `${name} 7`, deviceType, hardwareModel: name },
    });
    const other = await enrol({ deviceType, hardwareModel: `${name} rev b` });
    expect(other.status).toBe(200);

    const client = service.client();
    const filter = `serial_number = ${quoted(`${name} 7`)} AND device_type = ${quoted(deviceType)} AND hardware_model = ${quoted(name)}`;
    expect((await client.unary(DeviceService.method.countDevices, { filter })).count).toBe(1n);
    const query = new URLSearchParams({ hardwareModels: name, deviceTypes: deviceType });
    const listed = await http(service, "GET", `/api/v1/devices?${query.toString()}`, {
      token: service.adminToken,
    });
    expect(listed.body.devices).toEqual([expect.objectContaining({ id: enrolled.body.device.id })]);

    const firmware = await publish(service, newContent(), {
      deviceTypes: [deviceType],
      hardwareModels: [name],
    });
    const fitting = new URLSearchParams({ deviceType, hardwareModel: name });
    const found = await http(service, "GET", `/api/v1/firmware?${fitting.toString()}`, {
      token: service.adminToken,
    });
    expect(found.body.firmware).toEqual([expect.objectContaining({ id: firmware.id })]);
    await client.unary(FirmwareService.method.deployFirmware, {
      id: firmware.id,
      rings: [{ name: "all", percent: 100 }],
      targeting: { deviceTypes: [deviceType], hardwareModels: [name], filter },
    });
    const check = (token: string) =>
      service.client(token).unary(UpdateService.method.checkForUpdate, { firmwareVersion: "1.0.0" });
    expect((await check(enrolled.body.deviceToken)).offer?.version).toBe("1.1.0");
    expect((await check(other.body.deviceToken)).offer).toBeUndefined();
  });

  it.each([
    ["a blank at an end", "m "],
    ["a tab", "m\tn"],
    ["an invisible character", "m\u200bn"],
    ["an accent apart from its letter", "caf\u0065\u0301"],
    ["too many characters", "m".repeat(129)],
  ])("is refused with %s, and the field is named", async (_fault, name) => {
    for (const field of ["serialNumber", "deviceType", "hardwareModel"]) {
      const answer = await enrol({ [field]: name });
      expect(answer.status).toBe(400);
      expect(httpRefusal(answer).fields).toEqual([field]);
    }
  });
});
