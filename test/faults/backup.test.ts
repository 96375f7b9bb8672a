import { createHash } from "node:crypto";
import { appendFile, cp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { UpdatePin } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RingState, type Rollout, RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { DeviceAgent } from "../../src/agent/device-agent.ts";
import { type DeviceSigner, keyFileSigner } from "../../src/agent/device-signer.ts";
import { FileDeviceStorage } from "../../src/agent/device-storage.ts";
import { trustIn } from "../../src/agent/offer-check.ts";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { startEmbeddedPostgres } from "../../src/infra/postgres/embedded-postgres.ts";
import { generateSigningKey } from "../../src/manifest/signature.ts";
import { newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { createEmptyDatabase, query } from "../support/postgres.ts";
import { type CliResult, runCli } from "../support/run-cli.ts";
import { startDevices, untilAcked } from "../support/streaming-device.ts";
import { ServiceProcess } from "./service-process.ts";

const silent = createLogger({ level: "silent", pretty: false });

it("a fleet goes on from a backup that was taken while it ran, and from a database that was moved", async () => {
  await using cleanup = new AsyncDisposableStack();
  await using service = await ServiceProcess.start();
  const streaming = await startDevices(service, 3);
  for (const device of streaming) cleanup.use(device);
  const rpc = cleanup.use(adminOf(service));
  const [canary, other] = [
    await PolledDevice.enrol(rpc, service.enrolmentKey),
    await PolledDevice.enrol(rpc, service.enrolmentKey),
  ];
  await rpc.unary(DeviceService.method.updateDevice, { id: canary.id, updatePin: UpdatePin.CANARY });
  const content = newContent(100_000);
  const { rolloutId, sha256 } = await deploy(rpc, content);
  await eventually(() => canary.expectOffer(service));
  await canary.update(service);
  await eventually(async () => {
    await canary.beat(service);
    expect(ringStates(await rolloutOf(rpc, rolloutId))).toEqual([RingState.PASSED, RingState.OPEN]);
  });
  await untilAcked(streaming, 20);

  // While heartbeats go on.
  const ackedBefore = streaming.map(({ id, acked }) => ({ id, acked }));
  const folder = join(service.folder, "backup");
  expect(await cli(service, "backup", folder)).toMatchObject({ exitCode: 0, stderr: "" });
  await untilAcked(streaming, 20);

  // Enrolled since, and its service knows nothing of it after the restore.
  const storage = new FileDeviceStorage(join(service.folder, "late"), silent);
  const before = cleanup.use(lateDevice(service, storage));
  await before.start();
  await eventually(() => expect(before.heartbeats.acknowledged).toBeGreaterThan(0));
  const lateId = before.deviceId;
  const { ran, sequence = 0 } = (await storage.load()) ?? {};
  const keyed = new FileDeviceStorage(join(service.folder, "keyed"), silent);
  const signer = await keyFileSigner(join(service.folder, "device-key.pem"), { make: true });
  const keyedBefore = cleanup.use(lateDevice(service, keyed, signer));
  await keyedBefore.start();
  await eventually(() => expect(keyedBefore.heartbeats.acknowledged).toBeGreaterThan(0));
  const keyedId = keyedBefore.deviceId;
  await keyedBefore.stop();

  // The machine is gone, with what came after the backup.
  await service.signal("SIGTERM");
  await rm(join(service.folder, "data"), { recursive: true });
  const damaged = join(service.folder, "damaged");
  await cp(folder, damaged, { recursive: true });
  await appendFile(join(damaged, "objects", sha256), "x");
  expect(await cli(service, "restore", damaged)).toMatchObject({
    exitCode: 1,
    stderr: expect.stringMatching(/damaged: .*objects.*Nothing was restored/),
  });
  const restored = await cli(service, "restore", folder);
  expect(restored).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/^Restored: \d+ rows .* 1 content/),
  });
  expect(await cli(service, "restore", folder)).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining("the database is not empty"),
  });
  expect(
    createHash("sha256")
      .update(await readFile(service.objectPath(sha256)))
      .digest("hex"),
  ).toBe(sha256);
  await onDatabase(service, async (url) => {
    for (const { id, acked } of ackedBefore) {
      const rows = await query<{ stored: number; last: number }>(
        url,
        `SELECT count(DISTINCT sequence)::int AS stored, max(sequence)::int AS last FROM device_heartbeats
          WHERE device_id = $1`,
        [id],
      );
      expect(rows[0]?.stored).toBe(rows[0]?.last);
      expect(rows[0]?.last).toBeGreaterThanOrEqual(acked);
    }
    expect(await query(url, "SELECT * FROM rollout_recount()")).toEqual([]);
  });

  // It goes on: devices with their credentials, the rollout in its second ring, the firmware's content.
  await service.startAgain();
  const again = cleanup.use(adminOf(service));
  for (const device of streaming) device.moveTo(service.grpcAddress);
  await untilAcked(streaming, 20);
  // It comes back by itself, as another device with all its memory.
  await before.stop();
  const after = cleanup.use(lateDevice(service, storage));
  await after.start();
  await eventually(() => expect(after.heartbeats.acknowledged).toBeGreaterThan(0));
  expect(after.deviceId).not.toBe(lateId);
  const kept = await storage.load();
  expect(kept).toMatchObject({ ran, identity: { deviceId: after.deviceId } });
  expect(kept?.sequence).toBeGreaterThanOrEqual(sequence);
  await after.stop();
  // And so does one with a key of its own, which has no token.
  const keyedAfter = cleanup.use(lateDevice(service, keyed, signer));
  await keyedAfter.start();
  await eventually(() => expect(keyedAfter.heartbeats.acknowledged).toBeGreaterThan(0));
  expect(keyedAfter.deviceId).not.toBe(keyedId);
  expect((await keyed.load())?.identity).toMatchObject({ deviceId: keyedAfter.deviceId, token: "" });
  await keyedAfter.stop();
  await eventually(() => other.expectOffer(service));
  await other.update(service);
  await eventually(async () => {
    await other.beat(service);
    expect((await rolloutOf(again, rolloutId)).state).toBe(RolloutState.COMPLETED);
  });
  const audit = await again.unary(AccessService.method.verifyAuditLog, {});
  expect(audit.fault).toBeUndefined();
  expect(audit.complete).toBe(true);
  await service.signal("SIGTERM");

  // To a PostgreSQL of one's own.
  const database = cleanup.use(await createEmptyDatabase());
  expect(await cli(service, "move-database", "--to", database.url)).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/^Copied \d+ rows/),
  });
  await using moved = await ServiceProcess.start(database.url);
  const there = cleanup.use(adminOf(moved));
  expect((await rolloutOf(there, rolloutId)).state).toBe(RolloutState.COMPLETED);
  for (const device of streaming) device.moveTo(moved.grpcAddress);
  await untilAcked(streaming, 20);
});

/** A device of a type that no rollout is for, with its real agent. */
function lateDevice(
  { grpcAddress, enrolmentKey }: ServiceProcess,
  storage: FileDeviceStorage,
  signer?: DeviceSigner,
): DeviceAgent {
  return new DeviceAgent({
    address: grpcAddress,
    enrolment: { enrolmentKey, serialNumber: signer === undefined ? "late" : "late, with a key" },
    signer,
    deviceType: "late",
    hardwareModel: "late",
    storage,
    sensors: { bootId: "boot-1", uptimeMs: () => 1_000, read: async () => ({}) },
    installer: {
      running: async () => ({ version: "1.0.0" }),
      install: async () => undefined,
      reboot: async () => undefined,
    },
    trust: trustIn([generateSigningKey().publicKeyPem]),
    logger: silent,
    clock: systemClock,
    maxRetryPauseMs: 50,
  });
}

function adminOf({ grpcAddress, adminToken }: ServiceProcess): RpcClient {
  return new RpcClient({ address: grpcAddress, token: adminToken });
}

function cli(service: ServiceProcess, ...args: string[]): Promise<CliResult> {
  return runCli(args, {
    cwd: service.folder,
    env: { DEVICE_OTA_DATA_DIR: join(service.folder, "data") },
  });
}

/** A rollout whose first ring is the canary's alone. */
async function deploy(rpc: RpcClient, content: Uint8Array): Promise<{ rolloutId: string; sha256: string }> {
  const firmware = await publish({ client: () => rpc }, content, { product: "app" });
  const gate = { minSample: 1, minSuccessPercent: 100, soakDuration: {} };
  const { rollout } = await rpc.unary(FirmwareService.method.deployFirmware, {
    id: firmware.id,
    policy: { verificationDuration: {} },
    rings: [
      { name: "canary", percent: 0.01, gate },
      { name: "all", percent: 100, gate },
    ],
  });
  return { rolloutId: rollout?.id ?? "", sha256: firmware.sha256 };
}

async function rolloutOf(rpc: RpcClient, id: string): Promise<Rollout> {
  const { rollout } = await rpc.unary(RolloutService.method.getRollout, { id });
  if (rollout === undefined) throw new Error("no rollout in the answer");
  return rollout;
}

function ringStates({ rings }: Rollout): RingState[] {
  return rings.map(({ state }) => state);
}

/** Looks into the embedded database of a service that does not run. */
async function onDatabase(service: ServiceProcess, look: (url: string) => Promise<void>): Promise<void> {
  const logger = createLogger({ level: "silent", pretty: false });
  await using server = await startEmbeddedPostgres({ dataDir: service.databaseFolder, logger });
  await look(server.serviceUrl);
}
