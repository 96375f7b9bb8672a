import { status } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { eventually } from "../support/eventually.ts";
import { DedicatedPostgres } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";
import {
  acknowledged,
  metric,
  startDevices,
  statusOf,
  untilAcked,
  untilStatus,
} from "../support/streaming-device.ts";

/** The smallest queue there is: 20 devices fill it in a moment. */
const queueRows = 100;

/** What an outage of a few seconds may cost in memory: a queue of 100 rows is nothing against it, a leak is not. */
const maxMemoryGrowthBytes = 200 * 1024 * 1024;

it("loses no acknowledged heartbeat, bounds its queue and keeps its streams while the database is away", async () => {
  await using database = await DedicatedPostgres.start();
  await using service = await startTestService({
    databaseUrl: database.url,
    settings: {
      DEVICE_OTA_HEARTBEAT_QUEUE_ROWS: String(queueRows),
      DEVICE_OTA_HEARTBEAT_FLUSH_ROWS: String(queueRows),
      DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off",
    },
  });
  await using cleanup = new AsyncDisposableStack();
  const history = new DeliveryHistory();
  const devices = await startDevices(service, 20, { history });
  for (const device of devices) cleanup.use(device);
  await untilAcked(devices, 10);
  const rssBefore = process.memoryUsage.rss();

  await database.stop();
  await untilStatus(service.httpUrl, "/health/ready", 503);
  const beforeOutage = acknowledged(devices);

  // The queue fills to its bound and stays there: the devices are held back, although each has more to send.
  await eventually(async () => {
    expect(await metric(service.httpUrl, "device_ota_ingest_queue_rows")).toBe(queueRows);
  });
  const rpc = service.client();
  const unavailable = { code: status.UNAVAILABLE, reason: "DATABASE_UNAVAILABLE" };
  for (let round = 0; round < 20; round++) {
    await expect(rpc.unary(DeviceService.method.listDevices, {})).rejects.toMatchObject(unavailable);
    expect(await metric(service.httpUrl, "device_ota_ingest_queue_rows")).toBeLessThanOrEqual(queueRows);
    expect(await statusOf(service.httpUrl, "/health/live")).toBe(200);
  }
  const [first] = devices;
  await expect(
    rpc.unary(HeartbeatService.method.listHeartbeats, { deviceId: first?.id ?? "" }),
  ).rejects.toMatchObject(unavailable);
  expect(acknowledged(devices)).toEqual(beforeOutage);
  expect(await statusOf(service.httpUrl, "/health/ready")).toBe(503);

  await database.startAgain();
  await untilStatus(service.httpUrl, "/health/ready", 200);
  await untilAcked(devices, 50);

  for (const device of devices) await device[Symbol.asyncDispose]();
  expect(await history.check(database.url)).toEqual([]);
  expect(devices.map(({ streams, rejected }) => ({ streams, rejected }))).toEqual(
    devices.map(() => ({ streams: 1, rejected: [] })),
  );
  expect(process.memoryUsage.rss() - rssBefore).toBeLessThan(maxMemoryGrowthBytes);
  expect(await rpc.unary(DeviceService.method.listDevices, {})).toMatchObject({
    devices: expect.objectContaining({ length: devices.length }),
  });
});
