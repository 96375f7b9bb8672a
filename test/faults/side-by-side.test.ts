import { expect, it } from "vitest";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { DeviceUpdateState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { createEmptyDatabase, query } from "../support/postgres.ts";
import { takePreviousVersion } from "../support/previous-version.ts";
import { startDevices, statusOf, untilAcked } from "../support/streaming-device.ts";
import { ServiceProcess } from "./service-process.ts";

it("a replica of the version before goes on while this one migrates and works beside it, and nothing is lost", async ({
  skip,
}) => {
  const previous = await takePreviousVersion();
  if (previous === undefined)
    return skip("git's history does not reach back before the last migration: fetch more of it");
  await using _removed = previous;
  await using database = await createEmptyDatabase();
  await using older = await ServiceProcess.start(database.url, settings, previous.program);
  await using cleanup = new AsyncDisposableStack();
  const history = new DeliveryHistory();
  const streaming = await startDevices(older, 10, { history });
  for (const device of streaming) cleanup.use(device);
  const early = await enrolAt(older);
  const rolloutId = await deploy(older);
  await eventually(() => early.expectOffer(older));
  await untilAcked(streaming, 3);
  const migrationsBefore = await migrations(database.url);

  await using newer = await ServiceProcess.start(database.url, settings);
  expect(await migrations(database.url)).toBeGreaterThan(migrationsBefore);
  // Nobody lost a stream, and the replica that knows less of the schema is as ready as the other one.
  await untilAcked(streaming, 20);
  expect(streaming.map(({ streams }) => streams)).toEqual(streaming.map(() => 1));
  expect(await statusOf(older.httpUrl, "/health/ready")).toBe(200);
  expect(await statusOf(newer.httpUrl, "/health/ready")).toBe(200);

  // Updates that cross over: begun at one of them, ended at the other one, either way.
  const [atOlder, atNewer] = [await enrolAt(older), await enrolAt(newer)];
  await early.report(newer, DeviceUpdateState.REBOOTING);
  await early.reboot(newer, updatedVersion);
  await atOlder.update(older);
  await eventually(() => atNewer.expectOffer(newer));
  await atNewer.report(older, DeviceUpdateState.REBOOTING);
  await atNewer.reboot(older, updatedVersion);
  const polled = [early, atOlder, atNewer];
  for (const service of [older, newer]) {
    using rpc = adminOf(service);
    await eventually(async () => {
      const { deviceUpdates } = await rpc.unary(RolloutService.method.listDeviceUpdates, { rolloutId });
      const states = new Map(deviceUpdates.map(({ deviceId, state }) => [deviceId, state]));
      expect(polled.map(({ id }) => states.get(id))).toEqual(polled.map(() => DeviceUpdateState.SUCCEEDED));
    });
    // A device that enrolled at either of them asks at both.
    for (const device of polled) expect((await device.check(service)).offer).toBeUndefined();
  }

  for (const device of streaming) device.moveTo(newer.grpcAddress);
  expect(await older.signal("SIGTERM")).toBe(0);
  await untilAcked(streaming, 40);
  using rpc = adminOf(newer);
  const { rollout } = await rpc.unary(RolloutService.method.getRollout, { id: rolloutId });
  expect(rollout?.rings.map(({ counters }) => counters?.succeeded)).toEqual([BigInt(polled.length)]);
  await cleanup.disposeAsync();
  expect(await history.check(database.url)).toEqual([]);
});

const updatedVersion = "1.1.0";

const settings = { DEVICE_OTA_RATE_LIMIT_UPDATE_CHECK: "off" };

function adminOf({ grpcAddress, adminToken: token }: ServiceProcess): RpcClient {
  return new RpcClient({ address: grpcAddress, token });
}

async function enrolAt(service: ServiceProcess): Promise<PolledDevice> {
  using rpc = adminOf(service);
  return await PolledDevice.enrol(rpc, service.enrolmentKey);
}

/** A rollout to all devices at once, each of which has succeeded with its first heartbeat of the new version. */
async function deploy(service: ServiceProcess): Promise<string> {
  using rpc = adminOf(service);
  const { id } = await publish({ client: () => rpc }, newContent(1_000), {
    product: "app",
    version: updatedVersion,
  });
  const { rollout } = await rpc.unary(FirmwareService.method.deployFirmware, {
    id,
    policy: { verificationDuration: {} },
    rings: [{ name: "all", percent: 100, gate: { minSample: 100, minSuccessPercent: 60, soakDuration: {} } }],
  });
  return rollout?.id ?? "";
}

/** How many migrations the database has run. */
async function migrations(databaseUrl: string): Promise<number> {
  const rows = await query<{ n: number }>(databaseUrl, "SELECT count(*)::int AS n FROM mikro_orm_migrations");
  return rows[0]?.n ?? 0;
}
