import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { UpdatePin } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { startTestService, type TestService } from "../support/service.ts";

async function register(service: TestService, count: number): Promise<void> {
  for (let n = 1; n <= count; n++) {
    await service.client().unary(DeviceService.method.registerDevice, {
      requestId: randomUUID(),
      serialNumber: `SN-${n}`,
      deviceType: n % 2 === 0 ? "camera" : "thermostat",
      hardwareModel: "m",
    });
  }
}

describe("many devices through the doors", () => {
  it("are filtered, counted, changed and listed by tag, over gRPC and REST", async () => {
    await using service = await startTestService();
    await register(service, 6);
    const client = service.client();
    const changed = await client.unary(DeviceService.method.batchUpdateDevices, {
      filter: "device_type = camera",
      expectedCount: 3n,
      addTags: ["lab"],
      updatePin: UpdatePin.CANARY,
      reason: "trial",
    });
    expect([changed.matchedCount, changed.changedCount]).toEqual([3n, 3n]);
    expect((await client.unary(DeviceService.method.countDevices, { filter: "tags:lab" })).count).toBe(3n);

    const rest = async (path: string) => {
      const answer = await fetch(`${service.httpUrl}${path}`, {
        headers: { authorization: `Bearer ${service.adminToken}` },
      });
      return { status: answer.status, body: (await answer.json()) as Record<string, never> };
    };
    const filter = encodeURIComponent("update_pin = CANARY");
    const order = encodeURIComponent("serial_number desc");
    const first = await rest(`/api/v1/devices?filter=${filter}&orderBy=${order}&pageSize=2`);
    expect(first.body).toMatchObject({
      devices: [
        { serialNumber: "SN-6", tags: ["lab"], updatePin: "UPDATE_PIN_CANARY" },
        { serialNumber: "SN-4" },
      ],
    });
    const token = encodeURIComponent(first.body["nextPageToken"] ?? "");
    const second = await rest(
      `/api/v1/devices?filter=${filter}&orderBy=${order}&pageSize=2&pageToken=${token}`,
    );
    expect(second.body).toMatchObject({ devices: [{ serialNumber: "SN-2" }] });
    // The token belongs to this filter and this order.
    expect((await rest(`/api/v1/devices?filter=${filter}&pageSize=2&pageToken=${token}`)).status).toBe(400);
    expect((await rest(`/api/v1/devices:count?filter=${filter}`)).body).toEqual({ count: "3" });
    const wrong = await rest(`/api/v1/devices?filter=${encodeURIComponent("battery_percent < low")}`);
    expect(wrong.status).toBe(400);
    expect(JSON.stringify(wrong.body)).toContain("INVALID_FILTER");
    expect((await rest("/api/v1/devices?orderBy=colour")).status).toBe(400);
  });

  it("show the settings in force, without secrets", async () => {
    await using service = await startTestService();
    const { settings } = await service.client().unary(AccessService.method.listSettings, {});
    const byName = new Map(settings.map((setting) => [setting.name, setting]));
    expect(byName.get("DEVICE_OTA_ADMIN_TOKEN")).toMatchObject({ value: "(set)", set: true });
    expect(byName.get("DEVICE_OTA_DATABASE_URL")?.value).toBe("(set)");
    expect(byName.get("DEVICE_OTA_HEARTBEAT_INTERVAL_SECONDS")).toMatchObject({ value: "1", set: true });
    expect(byName.get("DEVICE_OTA_LOG_LEVEL")).toMatchObject({
      set: false,
      value: byName.get("DEVICE_OTA_LOG_LEVEL")?.defaultValue,
    });
    expect(JSON.stringify(settings.map(({ value }) => value))).not.toContain(service.adminToken);
  });
});
