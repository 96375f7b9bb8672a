import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { UpdateKind } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { NetworkType } from "../../gen/ota/v1/heartbeat_pb.js";
import { DeviceUpdateState, type RolloutPolicySchema, RolloutState } from "../../gen/ota/v1/rollout_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { NoOfferReason } from "../../gen/ota/v1/update_service_pb.js";
import { FleetSimulator } from "../../src/agent/fleet-simulator.ts";
import type { SimulatedDevice } from "../../src/agent/simulated-device.ts";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { type SigningKeyPair, signManifest } from "../../src/manifest/signature.ts";
import { bytes, createFirmware, newContent, registerKey, upload } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Reference agents against the real service, by real sockets. */

let service: TestService;
let rpc: RpcClient;
let key: SigningKeyPair;

beforeAll(async () => {
  service = await startTestService({
    settings: { DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off", DEVICE_OTA_RATE_LIMIT_UPDATE_CHECK: "off" },
  });
  rpc = service.client();
  key = await registerKey(rpc);
});
afterAll(() => service[Symbol.asyncDispose]());

/** A few devices of a type of their own, all connected. */
async function startFleet(
  deviceType: string,
  count: number,
  bytesPerSecond?: number,
): Promise<FleetSimulator> {
  const fleet = await FleetSimulator.start({
    address: service.grpcAddress,
    enrolmentKey: service.enrolmentKey,
    trustedKeys: [key.publicKeyPem],
    count,
    models: [{ deviceType, hardwareModel: "m1" }],
    components: { nav: "1.0.0" },
    heartbeatIntervalMs: 100,
    installMs: 10,
    rebootMs: 20,
    maxRetryPauseMs: 500,
    ...(bytesPerSecond === undefined ? {} : { slowRate: 1, slowBytesPerSecond: bytesPerSecond }),
    behaviour: (version) => (version === "3.0.0" ? "fail_install" : "healthy"),
    logger: createLogger({ level: "silent", pretty: false }),
  });
  await eventually(() => expect(fleet.snapshot().online).toBe(count));
  return fleet;
}

/** Signed firmware, or an application if a component is named. */
async function publish(deviceType: string, version: string, component = ""): Promise<string> {
  const content = newContent(20_000);
  const { id } = await createFirmware(rpc, content, {
    product: `${deviceType}-${component || "os"}`,
    version,
    deviceTypes: [deviceType],
    ...(component === "" ? {} : { kind: UpdateKind.APPLICATION, component }),
  });
  await upload(rpc, id, content);
  const { manifest } = await rpc.unary(FirmwareService.method.getFirmwareManifest, { id });
  const signature = bytes(signManifest(key.privateKeyPem, manifest));
  await rpc.unary(FirmwareService.method.signFirmware, { id, manifest, keyId: key.keyId, signature });
  return id;
}

type Policy = MessageInitShape<typeof RolloutPolicySchema>;

/** A rollout of one ring that runs, and whose devices need not be watched for long. */
async function start(firmwareId: string, policy: Policy = {}): Promise<string> {
  const { rollout } = await rpc.unary(RolloutService.method.createRollout, {
    firmwareId,
    policy: { verificationDuration: durationFromMs(0), ...policy },
    rings: [{ name: "all", percent: 100, gate: { soakDuration: durationFromMs(0) } }],
  });
  const id = rollout?.id ?? "";
  await rpc.unary(RolloutService.method.startRollout, { id });
  return id;
}

async function untilState(id: string, state: RolloutState): Promise<void> {
  await eventually(async () => {
    const { rollout } = await rpc.unary(RolloutService.method.getRollout, { id });
    expect(RolloutState[rollout?.state ?? 0]).toBe(RolloutState[state]);
  });
}

/** Devices by the state of their update. */
async function updatesOf(rolloutId: string): Promise<ReadonlyMap<string, DeviceUpdateState>> {
  const { deviceUpdates } = await rpc.unary(RolloutService.method.listDeviceUpdates, { rolloutId });
  return new Map(deviceUpdates.map(({ deviceId, state }) => [deviceId, state]));
}

describe("an application beside firmware", () => {
  it("goes out on its own: both reach every device, and what is wrong with one leaves the other alone", async () => {
    await using fleet = await startFleet("tablet", 6);
    const [firmware, application] = await Promise.all([
      publish("tablet", "1.1.0"),
      publish("tablet", "2.0.0", "nav"),
    ]);
    const both = await Promise.all([start(firmware), start(application)]);
    for (const id of both) await untilState(id, RolloutState.COMPLETED);
    await eventually(() => {
      expect(fleet.snapshot().byVersion).toEqual({ "1.1.0": 6 });
      for (const { components } of fleet.devices) expect(components).toEqual({ nav: "2.0.0" });
    });
    // The firmware took a reboot of each, the application none.
    expect(fleet.snapshot().reboots).toBe(6);
    for (const id of both) {
      await eventually(async () => {
        const states = await updatesOf(id);
        expect([...states.values()]).toEqual(Array(6).fill(DeviceUpdateState.SUCCEEDED));
      });
    }

    const [bad, good] = await Promise.all([
      start(await publish("tablet", "3.0.0", "nav")),
      start(await publish("tablet", "1.2.0")),
    ]);
    await untilState(bad, RolloutState.ROLLED_BACK);
    await untilState(good, RolloutState.COMPLETED);
    // The last of them may be offered it after the gate has held.
    await eventually(() => expect(fleet.snapshot().byVersion).toEqual({ "1.2.0": 6 }));
    for (const { components } of fleet.devices) expect(components).toEqual({ nav: "2.0.0" });
  });
});

describe("what the device has to wait for", () => {
  it("holds the update back, network, window and consent each, and lets it go when the time has come", async () => {
    await using fleet = await startFleet("phone", 4);
    const [ready, onCellular, unasked, elsewhere] = fleet.devices;
    if (!ready || !onCellular || !unasked || !elsewhere) throw new Error("no device");
    for (const device of fleet.devices) {
      device.userConsent = device !== unasked;
      await moveTo(device, device === onCellular ? NetworkType.CELLULAR : NetworkType.WIFI);
      if (device !== elsewhere) await moveToZone(device);
    }
    const id = await start(await publish("phone", "1.1.0"), {
      maxMeteredBytes: 1_000n,
      requireUserConsent: true,
      maintenanceWindows: [windowOpenThere()],
    });
    await eventually(async () => {
      expect(await updatesOf(id)).toEqual(new Map([[ready.deviceId, DeviceUpdateState.SUCCEEDED]]));
    });
    for (const [device, reason] of [
      [onCellular, NoOfferReason.METERED_NETWORK],
      [unasked, NoOfferReason.CONSENT_REQUIRED],
      [elsewhere, NoOfferReason.OUTSIDE_MAINTENANCE_WINDOW],
    ] as const) {
      // They have asked since, and were held back.
      device.checkForUpdate();
      const explained = await rpc.unary(RolloutService.method.explainUpdate, {
        rolloutId: id,
        deviceId: device.deviceId,
      });
      expect(NoOfferReason[explained.noOfferReason]).toBe(NoOfferReason[reason]);
    }
    expect(fleet.snapshot().byVersion).toEqual({ "1.0.0": 3, "1.1.0": 1 });

    onCellular.moveTo(NetworkType.ETHERNET);
    unasked.userConsent = true;
    await moveToZone(elsewhere);
    await eventually(async () => {
      for (const device of fleet.devices) device.checkForUpdate();
      expect(fleet.snapshot().byVersion).toEqual({ "1.1.0": 4 });
    });
    await eventually(async () => {
      expect([...(await updatesOf(id)).values()]).toEqual(Array(4).fill(DeviceUpdateState.SUCCEEDED));
    });
  });

  it("on the device as well: what was offered waits there for the user", async () => {
    await using fleet = await startFleet("kiosk", 1, 10_000);
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    device.userConsent = true;
    const id = await start(await publish("kiosk", "1.1.0"), { requireUserConsent: true });
    const untilIt = (state: DeviceUpdateState) =>
      eventually(async () => {
        expect((await updatesOf(id)).get(device.deviceId)).toBe(state);
      });
    await untilIt(DeviceUpdateState.DOWNLOADING);
    // Its user has second thoughts.
    device.userConsent = false;
    await untilIt(DeviceUpdateState.DOWNLOADED);
    const { acknowledged } = device;
    await eventually(() => expect(device.acknowledged).toBeGreaterThan(acknowledged + 10));
    await untilIt(DeviceUpdateState.DOWNLOADED);
    device.userConsent = true;
    await untilIt(DeviceUpdateState.SUCCEEDED);
    expect(device.version).toBe("1.1.0");
  });
});

/** Six hours ahead of UTC, by the sign of POSIX. */
const openZone = "Etc/GMT-6";

/** A window that is open now by the clocks of that zone, and not by UTC, which counts for who names no zone. */
function windowOpenThere() {
  const hour = (new Date().getUTCHours() + 5) % 24;
  return {
    weekdays: [],
    start: `${String(hour).padStart(2, "0")}:00`,
    duration: durationFromMs(3 * 3_600_000),
  };
}

async function moveToZone({ deviceId }: SimulatedDevice): Promise<void> {
  const metadata = { entries: { time_zone: openZone } };
  await rpc.unary(DeviceService.method.updateDevice, { id: deviceId, metadata });
}

/** Moves it to a network; resolves when the service knows by its heartbeats. */
async function moveTo(device: SimulatedDevice, network: NetworkType): Promise<void> {
  device.moveTo(network);
  await eventually(async () => {
    const answer = await rpc.unary(DeviceService.method.getDevice, { id: device.deviceId });
    expect(answer.device?.lastHeartbeat?.network?.type).toBe(network);
  });
}
