import { expect, it } from "vitest";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { eventually } from "../support/eventually.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { startTestService } from "../support/service.ts";
import { metric, startDevices } from "../support/streaming-device.ts";

/** A heartbeat a minute. */
const beatsOfADay = 1_440;

it("a device that was offline for a day sends all of it in large messages, over a line that breaks, and it is stored once", async () => {
  await using service = await startTestService();
  await using line = await FaultProxy.start(service.grpcAddress);
  await using cleanup = new AsyncDisposableStack();
  const history = new DeliveryHistory();
  const behaviour = { history, backlog: beatsOfADay, batchSize: 1_000 };
  const devices = await startDevices({ ...service, grpcAddress: line.address }, 10, behaviour);
  for (const device of devices) cleanup.use(device);
  await eventually(() => expect(history.ackedCount).toBeGreaterThan(0));
  line.cut();
  await eventually(() => {
    expect(devices.map(({ acked }) => acked)).toEqual(devices.map(() => beatsOfADay));
  });
  await cleanup.disposeAsync();

  // A message counts once against the limit, whatever it holds: nobody was asked to slow down.
  expect(devices.flatMap(({ directives, rejected }) => [...directives, ...rejected])).toEqual([]);
  expect(await history.check(service.databaseUrl)).toEqual([]);
  expect(await metric(service.httpUrl, "device_ota_ingest_queue_rows")).toBe(0);
  const page = await service.client().unary(HeartbeatService.method.listHeartbeats, {
    deviceId: devices[0]?.id ?? "",
    pageSize: 1,
  });
  expect(page.heartbeats.map(({ heartbeat }) => heartbeat?.sequence)).toEqual([BigInt(beatsOfADay)]);
});
