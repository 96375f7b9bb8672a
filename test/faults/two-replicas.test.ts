import { describe, expect, it } from "vitest";
import { DatabaseProxy } from "../support/database-proxy.ts";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { eventually } from "../support/eventually.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { createTestDatabase, query } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";
import { metric, startDevices, untilAcked } from "../support/streaming-device.ts";

/** More than a device has on its way: after so many acks all that it had sent before is settled. */
const aWindow = 40;

describe("a device that reconnects to another replica while the first one still writes", () => {
  it("is served there, and what the first one writes late is fenced off", async () => {
    await using pair = await startPair();
    const { first, second, line, proxy, devices, history } = pair;
    await untilAcked(devices, 3);

    const release = await proxy.hold("before-begin");
    for (const device of devices) device.moveTo(second.grpcAddress);
    line.cut();
    await untilAcked(devices, aWindow);
    release();
    await eventually(async () => {
      expect(await metric(first.httpUrl, "device_ota_ingest_queue_rows")).toBe(0);
    });

    await pair.stopDevices();
    expect(history.resentCount).toBeGreaterThan(0);
    expect(await history.check(pair.databaseUrl)).toEqual([]);
  });

  it("waits there for what the first one has begun, and need not send that again", async () => {
    await using pair = await startPair();
    const { second, line, proxy, devices, history } = pair;
    await untilAcked(devices, 3);

    const release = await proxy.hold("before-copy");
    for (const device of devices) device.moveTo(second.grpcAddress);
    line.cut();
    await eventually(async () => {
      const rows = await query(
        pair.databaseUrl,
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
           AND query LIKE '%INSERT INTO device_ingest%'`,
      );
      expect(rows).not.toEqual([]);
    });
    release();
    await untilAcked(devices, aWindow);

    await pair.stopDevices();
    expect(await history.check(pair.databaseUrl)).toEqual([]);
  });

  it("may come and go as it likes", async () => {
    await using pair = await startPair();
    const { first, second, devices, history } = pair;
    await using other = await FaultProxy.start(second.grpcAddress);
    const lines = [pair.line, other] as const;
    await untilAcked(devices, 3);
    for (let round = 1; round <= 6; round++) {
      for (const device of devices) device.moveTo(lines[round % 2 === 0 ? 0 : 1].address);
      lines[round % 2 === 0 ? 1 : 0].cut();
      await untilAcked(devices, 2);
      // What a device sent before it moved may be acknowledged as well.
      await eventually(() =>
        expect(Math.min(...devices.map(({ streams }) => streams))).toBeGreaterThan(round),
      );
    }
    await pair.stopDevices();
    await eventually(async () => {
      expect(await metric(first.httpUrl, "device_ota_ingest_queue_rows")).toBe(0);
    });
    expect(devices.every(({ streams }) => streams >= 7)).toBe(true);
    expect(await history.check(pair.databaseUrl)).toEqual([]);
  });
});

/** Two replicas on one database; the devices reach the first one by a line, and it reaches the database by a proxy. */
async function startPair() {
  await using opened = new AsyncDisposableStack();
  const database = opened.use(await createTestDatabase({ partitioned: true }));
  const proxy = opened.use(await DatabaseProxy.start(database.url));
  const settings = { DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off" };
  const first = opened.use(await startTestService({ databaseUrl: proxy.url, settings }));
  const second = opened.use(await startTestService({ databaseUrl: database.url, settings }));
  const line = opened.use(await FaultProxy.start(first.grpcAddress));
  const history = new DeliveryHistory();
  const { enrolmentKey } = first;
  const devices = await startDevices({ grpcAddress: line.address, enrolmentKey }, 10, { history });
  const running = opened.use(new AsyncDisposableStack());
  for (const device of devices) running.use(device);
  const all = opened.move();
  return {
    databaseUrl: database.url,
    proxy,
    first,
    second,
    line,
    history,
    devices,
    stopDevices: () => running.disposeAsync(),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}
