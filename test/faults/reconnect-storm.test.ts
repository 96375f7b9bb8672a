import { expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { eventually } from "../support/eventually.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { startTestService } from "../support/service.ts";
import { startDevices } from "../support/streaming-device.ts";

const fleet = 1_000;

/** What a thousand devices may take to come back on a machine that does much else, with their own work on it. */
const deadlineMs = 100_000;

/** Both ends of a thousand streams and what lies between are some 150 MB: what the storm left behind must be less. */
const maxMemoryGrowthBytes = 150 * 1024 * 1024;

it("a thousand devices that lose their streams at once are all back, with one stream each", async () => {
  await using service = await startTestService();
  await using line = await FaultProxy.start(service.grpcAddress);
  await using cleanup = new AsyncDisposableStack();
  const history = new DeliveryHistory();
  // Each beats at once on a new stream; more than a hundred a second beside that would only keep the processors busy.
  const behaviour = { history, beatMs: 10_000 };
  const devices = await startDevices({ ...service, grpcAddress: line.address }, fleet, behaviour);
  for (const device of devices) cleanup.use(device);
  const untilBack = async (streams: number): Promise<void> => {
    await eventually(() => {
      const away = devices.filter((device) => device.streams < streams).length;
      if (away > 0) throw new Error(`${away} devices are not back`);
    }, deadlineMs);
    await eventually(() => {
      const waiting = devices.filter(({ acked }) => acked < streams).length;
      if (waiting > 0) throw new Error(`${waiting} devices wait for acks`);
    }, deadlineMs);
  };
  await untilBack(1);

  const rss = process.memoryUsage.rss();
  line.cut();
  await untilBack(2);

  expect(process.memoryUsage.rss() - rss).toBeLessThan(maxMemoryGrowthBytes);
  const overview = await service.client().unary(DeviceService.method.getDeviceStatusOverview, {});
  expect(overview).toMatchObject({ streamingCount: BigInt(fleet) });
  await cleanup.disposeAsync();
  expect(devices.flatMap(({ rejected }) => rejected)).toEqual([]);
  expect(await history.check(service.databaseUrl)).toEqual([]);
});
