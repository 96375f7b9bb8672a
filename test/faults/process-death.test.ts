import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { status } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { FirmwareState } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { startEmbeddedPostgres } from "../../src/infra/postgres/embedded-postgres.ts";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { eventually } from "../support/eventually.ts";
import { createFirmware, startDevices, untilAcked, uploadMessages } from "../support/streaming-device.ts";
import { ServiceProcess } from "./service-process.ts";

const mebibyte = 1024 * 1024;

/** More than the service keeps unsaved of an upload, so that a part of it is committed when the kill comes. */
const sentBytes = 12 * mebibyte;

it("loses nothing that it acknowledged when it is killed, and an upload goes on where it was cut", async () => {
  await using service = await ServiceProcess.start();
  await using cleanup = new AsyncDisposableStack();
  const history = new DeliveryHistory();
  const devices = await startDevices(service, 20, { history });
  for (const device of devices) cleanup.use(device);
  const content = randomBytes(20 * mebibyte);
  const rpc = clientOf(service, cleanup);
  const { id, sha256 } = await createFirmware(rpc, { product: "app", version: "1.1.0", content });
  const cut = new AbortController();
  const uploadEnd = rpc
    .clientStream(
      FirmwareService.method.uploadFirmware,
      firstPart(uploadMessages(id, content, 0, sentBytes), cut.signal),
    )
    .catch((error: unknown) => error);
  await untilAcked(devices, 20);
  await untilStaged(rpc, id);

  await service.signal("SIGKILL");
  cut.abort();
  expect(await uploadEnd).toMatchObject({ code: status.UNAVAILABLE });
  expect(existsSync(service.objectPath(sha256))).toBe(false);

  await service.startAgain();
  for (const device of devices) device.moveTo(service.grpcAddress);
  await untilAcked(devices, 40);
  expect(devices.map(({ streams }) => streams)).toEqual(devices.map(() => 2));
  expect(devices.reduce((sum, { resent }) => sum + resent, 0)).toBeGreaterThan(0);

  const again = clientOf(service, cleanup);
  const { firmware } = await again.unary(FirmwareService.method.getFirmware, { id });
  expect(firmware?.state).toBe(FirmwareState.DRAFT);
  expect(existsSync(service.objectPath(sha256))).toBe(false);
  const { committedBytes } = await again.unary(FirmwareService.method.getFirmwareUpload, { id });
  expect(Number(committedBytes)).toBeGreaterThan(0);
  expect(Number(committedBytes)).toBeLessThanOrEqual(sentBytes);
  const finished = await again.clientStream(
    FirmwareService.method.uploadFirmware,
    firstPart(uploadMessages(id, content, Number(committedBytes))),
  );
  expect(finished.firmware).toMatchObject({ state: FirmwareState.UPLOADED, sha256 });
  expect(digestOf(await readFile(service.objectPath(sha256)))).toBe(sha256);

  await cleanup.disposeAsync();
  expect(await service.signal("SIGTERM")).toBe(0);
  expect(await violationsIn(service, history)).toEqual([]);
});

it("drains on SIGTERM: devices are sent away, what was acknowledged is stored, nothing is left running", async () => {
  await using service = await ServiceProcess.start();
  await using cleanup = new AsyncDisposableStack();
  const history = new DeliveryHistory();
  const devices = await startDevices(service, 20, { history });
  for (const device of devices) cleanup.use(device);
  await untilAcked(devices, 20);
  const postmaster = await service.postmasterPid();
  expect(postmaster !== undefined && isAlive(postmaster)).toBe(true);

  expect(await service.signal("SIGTERM")).toBe(0);
  expect(devices.map(({ directives }) => directives.map(({ action }) => action.case))).toEqual(
    devices.map(() => ["reconnect"]),
  );
  expect(postmaster !== undefined && isAlive(postmaster)).toBe(false);
  expect(await service.postmasterPid()).toBeUndefined();
  expect(await violationsIn(service, history)).toEqual([]);
});

function clientOf(service: ServiceProcess, cleanup: AsyncDisposableStack): RpcClient {
  return cleanup.use(new RpcClient({ address: service.grpcAddress, token: service.adminToken }));
}

/** The messages; then, with a signal, the client falls silent until it aborts. */
async function* firstPart<T>(messages: Iterable<T>, signal?: AbortSignal): AsyncGenerator<T> {
  yield* messages;
  if (signal !== undefined && !signal.aborted) await once(signal, "abort");
}

async function untilStaged(rpc: RpcClient, id: string): Promise<void> {
  await eventually(async () => {
    const { committedBytes } = await rpc.unary(FirmwareService.method.getFirmwareUpload, { id });
    if (committedBytes === 0n) throw new Error(`${committedBytes} bytes are committed`);
  });
}

/** Looks into the stopped service's own database. */
async function violationsIn(service: ServiceProcess, history: DeliveryHistory): Promise<string[]> {
  await using database = await startEmbeddedPostgres({
    dataDir: service.databaseFolder,
    logger: createLogger({ level: "silent", pretty: false }),
  });
  return await history.check(database.ownerUrl);
}

function digestOf(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
