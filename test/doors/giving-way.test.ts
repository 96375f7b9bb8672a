import { afterAll, beforeAll, expect, it } from "vitest";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { DeviceUpdateState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { http, newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { enrol, StreamingDevice } from "../support/streaming-device.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

it("a device that downloads is told to stop for a newer version of higher priority, and is given that", async () => {
  const client = service.client();
  const product = "overtaken";
  const deploy = async (version: string, priority: number) => {
    const { id } = await publish(service, newContent(), { product, version });
    const rings = [{ name: "all", percent: 100 }];
    const answer = await client.unary(FirmwareService.method.deployFirmware, {
      id,
      rings,
      policy: { priority },
    });
    return answer.rollout?.id ?? "";
  };
  const { device, deviceToken } = await enrol(client, service.enrolmentKey, "1.0.0");
  const id = device?.id ?? "";
  const asDevice = service.client(deviceToken);
  const check = async () => {
    const reading = { firmwareVersion: "1.0.0", bootId: "boot 1" };
    return (await asDevice.unary(UpdateService.method.checkForUpdate, reading)).offer;
  };
  const report = async (updateId: string, state: DeviceUpdateState) =>
    (await asDevice.unary(UpdateService.method.reportUpdateStatus, { updateId, state })).state;
  const counters = async (rolloutId: string) => {
    const answer = await client.unary(RolloutService.method.getRollout, { id: rolloutId });
    const { offered, inProgress, cancelled } = answer.rollout?.rings[0]?.counters ?? {};
    return [offered, inProgress, cancelled].map(Number);
  };

  const first = await deploy("1.1.0", 0);
  const old = await check();
  const oldId = old?.updateId ?? "";
  await report(oldId, DeviceUpdateState.DOWNLOADING);
  await using stream = new StreamingDevice({ id, token: deviceToken, address: service.grpcAddress });
  await eventually(() => expect(stream.acked).toBeGreaterThan(0));
  const second = await deploy("1.2.0", 100);

  await eventually(() =>
    expect(stream.directives.map(({ action }) => action)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          case: "cancelUpdate",
          value: expect.objectContaining({ updateId: oldId }),
        }),
        expect.objectContaining({
          case: "updateAvailable",
          value: expect.objectContaining({ rolloutId: second }),
        }),
      ]),
    ),
  );
  expect([await counters(first), await counters(second)]).toEqual([
    [0, 0, 0],
    [1, 1, 0],
  ]);
  const content = (updateId: string) =>
    http(service, "GET", `/api/v1/updates/${updateId}/content`, { token: deviceToken });
  expect((await content(oldId)).status).toBe(403);
  expect(await report(oldId, DeviceUpdateState.DOWNLOADED)).toBe(DeviceUpdateState.SUPERSEDED);
  const offer = await check();
  expect(offer?.version).toBe("1.2.0");
  expect((await content(offer?.updateId ?? "")).status).toBe(200);
  expect((await check())?.updateId).toBe(offer?.updateId);
});
