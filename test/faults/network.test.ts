import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { applicationName, listeningRole } from "../../src/infra/database/connection-settings.ts";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { eventually } from "../support/eventually.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startTestService } from "../support/service.ts";
import { acknowledged, metric, startDevices, untilAcked, untilStatus } from "../support/streaming-device.ts";

const queueRows = 200;

const settings = {
  DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off",
  DEVICE_OTA_HEARTBEAT_QUEUE_ROWS: String(queueRows),
  DEVICE_OTA_HEARTBEAT_FLUSH_ROWS: String(queueRows),
};

describe("the network", () => {
  it("between devices and the service may be slow, stand still and break", async () => {
    await using service = await startTestService({ settings });
    await using line = await FaultProxy.start(service.grpcAddress);
    await using cleanup = new AsyncDisposableStack();
    const history = new DeliveryHistory();
    const devices = await startDevices({ ...service, grpcAddress: line.address }, 20, { history });
    for (const device of devices) cleanup.use(device);

    line.delay(150);
    await untilAcked(devices, 5);
    line.blackHole();
    await eventually(() => {
      // Each has sent all that it may send ahead, into the void: no acknowledgement lets it go on.
      expect(devices.every(({ sent, acked }) => sent === acked + 32)).toBe(true);
    });
    line.cut();
    line.heal();
    await untilAcked(devices, 40);

    await cleanup.disposeAsync();
    expect(devices.map(({ streams }) => streams)).toEqual(devices.map(() => 2));
    expect(await history.check(service.databaseUrl)).toEqual([]);
  });

  it("between the service and PostgreSQL may be slow, stand still and break", async () => {
    await using database = await createTestDatabase({ partitioned: true });
    const { host } = new URL(database.url);
    await using line = await FaultProxy.start(host);
    const url = new URL(database.url);
    url.host = line.address;
    await using service = await startTestService({ databaseUrl: url.href, settings });
    await using cleanup = new AsyncDisposableStack();
    const history = new DeliveryHistory();
    const devices = await startDevices(service, 20, { history });
    for (const device of devices) cleanup.use(device);

    line.delay(100);
    await untilAcked(devices, 5);
    line.blackHole();
    await eventually(async () => {
      expect(await metric(service.httpUrl, "device_ota_ingest_queue_rows")).toBe(queueRows);
    });
    const before = acknowledged(devices);
    await untilStatus(service.httpUrl, "/health/ready", 503);
    await untilStatus(service.httpUrl, "/health/live", 200);
    expect(acknowledged(devices)).toEqual(before);
    line.refuse();
    line.cut();
    expect(await metric(service.httpUrl, "device_ota_ingest_queue_rows")).toBe(queueRows);
    line.heal();
    await untilAcked(devices, 40);

    await cleanup.disposeAsync();
    expect(devices.map(({ streams }) => streams)).toEqual(devices.map(() => 1));
    expect(await history.check(database.url)).toEqual([]);
  });

  it("may swallow all that a replica listens to and nothing else: it hears again within seconds, and of what it missed", async () => {
    await using database = await createTestDatabase({ partitioned: true });
    await using line = await ListeningLine.start(new URL(database.url).host);
    const url = new URL(database.url);
    url.host = line.network.address;
    await using other = await startTestService({ databaseUrl: database.url, settings });
    await using service = await startTestService({
      databaseUrl: url.href,
      settings: { ...settings, DEVICE_OTA_LISTEN_CHECK_SECONDS: "1" },
    });
    await using cleanup = new AsyncDisposableStack();
    const devices = await startDevices(service, 2);
    for (const device of devices) cleanup.use(device);
    await untilAcked(devices, 3);

    expect(line.deafen()).toBe(1);
    const [missed, told] = devices;
    await other.client().unary(DeviceService.method.retireDevice, { id: missed?.id ?? "" });
    await eventually(async () =>
      expect(await metric(service.httpUrl, "device_ota_heartbeat_streams")).toBe(1),
    );
    await other.client().unary(DeviceService.method.retireDevice, { id: told?.id ?? "" });
    await eventually(async () =>
      expect(await metric(service.httpUrl, "device_ota_heartbeat_streams")).toBe(0),
    );
  });
});

/** A line to PostgreSQL that can swallow what comes for the connections that listen now; all others go on. */
class ListeningLine implements AsyncDisposable {
  readonly network: FaultProxy;
  readonly #listening: ReadonlySet<Socket>;

  static async start(target: string): Promise<ListeningLine> {
    const listening = new Set<Socket>();
    const network = await FaultProxy.start(target, (client, server) => {
      // The first message of a connection names what it is for.
      client.once("data", (startup: Buffer) => {
        if (startup.includes(applicationName(listeningRole))) listening.add(server);
      });
      client.pipe(server).pipe(client);
    });
    return new ListeningLine(network, listening);
  }

  private constructor(network: FaultProxy, listening: ReadonlySet<Socket>) {
    this.network = network;
    this.#listening = listening;
  }

  /** Returns how many connections it made deaf. */
  deafen(): number {
    for (const server of this.#listening) server.unpipe().resume();
    return this.#listening.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.network[Symbol.asyncDispose]();
  }
}
