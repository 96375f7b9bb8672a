import { describe, expect, it } from "vitest";
import { DatabaseProxy, failpoints } from "../support/database-proxy.ts";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { createTestDatabase, DedicatedPostgres } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";
import { startDevices, untilAcked } from "../support/streaming-device.ts";
import { ServiceProcess } from "./service-process.ts";

const fleet = 10;

/** Only against a hang: six starts of a service take a busy machine of two cores some minutes. */
const limitMs = 600_000;
const settings = { DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off" };

describe("at every step of a flush", () => {
  it(
    "a connection that is cut costs a retry and nothing else",
    async () => {
      await using database = await createTestDatabase({ partitioned: true });
      await using proxy = await DatabaseProxy.start(database.url);
      await using service = await startTestService({ databaseUrl: proxy.url, settings });
      await using cleanup = new AsyncDisposableStack();
      const history = new DeliveryHistory();
      const devices = await startDevices(service, fleet, { history });
      for (const device of devices) cleanup.use(device);

      for (const failpoint of failpoints) {
        await proxy.cutAt(failpoint);
        await untilAcked(devices, 3);
      }

      await cleanup.disposeAsync();
      expect(devices.map(({ streams }) => streams)).toEqual(devices.map(() => 1));
      expect(await history.check(database.url)).toEqual([]);
    },
    limitMs,
  );

  it(
    "a service that is killed has lost nothing that it acknowledged, and doubled nothing",
    async () => {
      await using database = await createTestDatabase({ partitioned: true });
      await using proxy = await DatabaseProxy.start(database.url);
      await using service = await ServiceProcess.start(proxy.url);
      await using cleanup = new AsyncDisposableStack();
      const history = new DeliveryHistory();
      const devices = await startDevices(service, fleet, { history });
      for (const device of devices) cleanup.use(device);

      for (const failpoint of failpoints) {
        await untilAcked(devices, 3);
        const killed = Promise.withResolvers<void>();
        proxy.arm(failpoint, async () => {
          proxy.disarm(failpoint);
          await service.signal("SIGKILL");
          killed.resolve();
        });
        await killed.promise;
        await service.startAgain();
        for (const device of devices) device.moveTo(service.grpcAddress);
      }
      await untilAcked(devices, 3);

      await cleanup.disposeAsync();
      expect(devices.map(({ streams }) => streams)).toEqual(devices.map(() => 1 + failpoints.length));
      expect(history.resentCount).toBeGreaterThan(0);
      expect(await history.check(database.url)).toEqual([]);
    },
    limitMs,
  );
});

it(
  "PostgreSQL that is killed in the middle of a flush comes back with all that was acknowledged",
  async () => {
    await using database = await DedicatedPostgres.start();
    await using proxy = await DatabaseProxy.start(database.url);
    await using service = await startTestService({ databaseUrl: proxy.url, settings });
    await using cleanup = new AsyncDisposableStack();
    const history = new DeliveryHistory();
    const devices = await startDevices(service, fleet, { history });
    for (const device of devices) cleanup.use(device);

    for (const failpoint of ["before-commit", "after-commit"] as const) {
      await untilAcked(devices, 3);
      const crashed = Promise.withResolvers<void>();
      proxy.arm(failpoint, async () => {
        proxy.disarm(failpoint);
        await database.crash();
        crashed.resolve();
      });
      await crashed.promise;
    }
    // More than a device has on the way: the killed server's last flush is not enough.
    await untilAcked(devices, 40);

    await cleanup.disposeAsync();
    expect(devices.map(({ streams }) => streams)).toEqual(devices.map(() => 1));
    expect(await history.check(database.url)).toEqual([]);
  },
  limitMs,
);
