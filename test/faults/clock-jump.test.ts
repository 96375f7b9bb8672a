import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { durationFromMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { AlertService } from "../../gen/ota/v1/alert_service_pb.js";
import { UpdatePin } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { DeviceUpdateState, RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { metric, startDevices, untilAcked } from "../support/streaming-device.ts";
import { ServiceProcess } from "./service-process.ts";

const hour = 3_600_000;
const day = 24 * hour;
const verificationMs = 5_000;

it("a process whose clock jumps a day ahead and two days back: nobody is lost, missing, shut out or proven too early", async () => {
  await using cleanup = new AsyncDisposableStack();
  const database = cleanup.use(await createTestDatabase({ partitioned: true }));
  const clock = cleanup.use(await SetClock.make());
  const service = cleanup.use(await ServiceProcess.start(database.url, clock.settings));
  const admin = cleanup.use(new RpcClient({ address: service.grpcAddress, token: service.adminToken }));
  const { secret: token } = await admin.unary(AccessService.method.createToken, {
    name: "of an hour",
    role: Role.ADMIN,
    expireTime: timestampFromMs(Date.now() + hour),
  });
  const rpc = cleanup.use(new RpcClient({ address: service.grpcAddress, token }));
  const history = new DeliveryHistory();
  const streaming = await startDevices(service, 5, { history });
  const running = cleanup.use(new AsyncDisposableStack());
  for (const device of streaming) running.use(device);
  await untilAcked(streaming, 3);
  const updating = await Promise.all(
    Array.from({ length: 3 }, () => PolledDevice.enrol(rpc, service.enrolmentKey)),
  );
  const rolloutId = await rollOut(rpc, updating);
  const beat = () => Promise.all(updating.map((device) => device.beat(service)));
  for (const device of updating) await device.update(service);

  for (const aheadMs of [day, -day]) {
    clock.set(aheadMs);
    await eventually(async () => {
      const seen = await metric(service.httpUrl, "device_ota_machine_clock_ahead_seconds");
      expect(Math.abs(seen * 1_000 - aheadMs)).toBeLessThan(hour);
      expect(service.log).toMatch(/"msg":"this machine's clock differs from the database's, which counts"/);
    });
    await untilAcked(streaming, 20);
    // Its token has an hour still, and what the fleet does is what it did.
    expect(await online(rpc)).toBe(BigInt(streaming.length + updating.length));
    await beat();
  }
  await eventually(async () => {
    await beat();
    const { rollout } = await rpc.unary(RolloutService.method.getRollout, { id: rolloutId });
    expect(RolloutState[rollout?.state ?? 0]).toBe("COMPLETED");
  });

  const { deviceUpdates } = await rpc.unary(RolloutService.method.listDeviceUpdates, { rolloutId });
  expect(deviceUpdates.map(({ state, attempt }) => ({ state: DeviceUpdateState[state], attempt }))).toEqual(
    updating.map(() => ({ state: "SUCCEEDED", attempt: 1 })),
  );
  for (const { proveTime, endTime } of deviceUpdates) {
    if (proveTime === undefined || endTime === undefined) throw new Error("it has not ended");
    expect(timestampMs(endTime) - timestampMs(proveTime)).toBeGreaterThanOrEqual(verificationMs);
    expect(Math.abs(timestampMs(endTime) - Date.now())).toBeLessThan(hour);
  }
  expect((await rpc.unary(AlertService.method.listAlerts, {})).alerts).toEqual([]);
  await running.disposeAsync();
  expect(streaming.map(({ streams }) => streams)).toEqual(streaming.map(() => 1));
  expect(await history.check(database.url)).toEqual([]);
}, 120_000);

/** A wall clock of a process that can be set as one likes. */
class SetClock implements AsyncDisposable {
  readonly #folder: string;

  static async make(): Promise<SetClock> {
    const clock = new SetClock(await mkdtemp(join(tmpdir(), "device-ota-clock-")));
    clock.set(0);
    return clock;
  }

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** What a process is to be started with. */
  get settings(): Readonly<Record<string, string>> {
    const preloaded = pathToFileURL(join(import.meta.dirname, "set-clock.ts"));
    return { NODE_OPTIONS: `--import=${preloaded.href}`, TEST_CLOCK_FILE: this.#file };
  }

  get #file(): string {
    return join(this.#folder, "ahead");
  }

  set(aheadMs: number): void {
    writeFileSync(this.#file, String(aheadMs));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function rollOut(rpc: RpcClient, devices: readonly PolledDevice[]): Promise<string> {
  const { id: firmwareId } = await publish({ client: () => rpc }, newContent(1_000), { product: "app" });
  for (const { id } of devices)
    await rpc.unary(DeviceService.method.updateDevice, { id, updatePin: UpdatePin.CANARY });
  const { rollout } = await rpc.unary(RolloutService.method.createRollout, {
    firmwareId,
    policy: {
      verificationDuration: durationFromMs(verificationMs),
      returnDuration: durationFromMs(60_000),
    },
    rings: [{ name: "all", percent: 100, gate: { minSample: devices.length, soakDuration: {} } }],
  });
  const id = rollout?.id ?? "";
  await rpc.unary(RolloutService.method.startRollout, { id });
  return id;
}

async function online(rpc: RpcClient): Promise<bigint> {
  return (await rpc.unary(DeviceService.method.getDeviceStatusOverview, {})).onlineCount;
}
