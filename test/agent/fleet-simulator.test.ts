import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { UpdateAction } from "../../gen/ota/v1/rollout_pb.js";
import { FleetSimulator, type FleetSnapshot } from "../../src/agent/fleet-simulator.ts";
import { eventually } from "../support/eventually.ts";
import { offerOf, signingKey, silentLogger } from "./agent-harness.ts";
import { FixtureService } from "./fixture-service.ts";

const content = randomBytes(512 * 1024);
const models = [{ deviceType: "thermostat", hardwareModel: "tx-200" }];

// A folder of this test's own, in which other tests' fleets leave nothing.
beforeEach(async () => {
  vi.stubEnv("TMPDIR", await mkdtemp(join(tmpdir(), "device-ota-fleets-")));
});

afterEach(async () => {
  const folder = tmpdir();
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

test("a fleet enrols, comes online, updates with real downloads and rolls back", async () => {
  const folders = await fleetFolders();
  await using service = await FixtureService.start();
  const fleet = await FleetSimulator.start({ ...optionsFor(service), count: 30 });
  const snapshots: FleetSnapshot[] = [];
  fleet.onChange((snapshot) => snapshots.push(snapshot));
  await eventually(() => expect(fleet.snapshot()).toMatchObject({ total: 30, online: 30 }));
  expect(new Set(service.enrolments.map(({ serialNumber }) => serialNumber)).size).toBe(30);

  service.offerFor = (_id, { firmwareVersion }) =>
    firmwareVersion === "1.0.0" ? offerOf(service, content) : undefined;
  await eventually(() => expect(fleet.snapshot().byVersion).toEqual({ "1.1.0": 30 }));
  expect(service.downloadedBytes).toBe(30 * content.length);

  const back = offerOf(service, content, { action: UpdateAction.ROLLBACK, version: "1.0.0" });
  service.offerFor = (_id, { firmwareVersion }) => (firmwareVersion === "1.1.0" ? back : undefined);
  await eventually(() => expect(fleet.snapshot().byVersion).toEqual({ "1.0.0": 30 }));
  await eventually(() => expect(fleet.snapshot()).toMatchObject({ online: 30, reboots: 60, crashes: 0 }));
  expect(snapshots.length).toBeGreaterThan(0);

  await fleet.stop();
  expect([...service.devices.values()].every(({ goodbyes }) => goodbyes.at(-1) === "stop")).toBe(true);
  expect(await fleetFolders()).toEqual(folders);
});

test("a version that crashes makes its devices reboot again and again, with a report each time", async () => {
  await using service = await FixtureService.start();
  const offer = offerOf(service, content);
  service.offerFor = (_id, { firmwareVersion }) => (firmwareVersion === "1.0.0" ? offer : undefined);
  await using fleet = await FleetSimulator.start({
    ...optionsFor(service),
    count: 12,
    crash: { "1.1.0": 0.5 },
    crashAfterMs: 100,
    rebootMs: 20,
  });
  await eventually(() => expect(fleet.snapshot().crashes).toBeGreaterThanOrEqual(20));
  const crashing = fleet.devices.filter(({ crashes }) => crashes > 0);
  expect(crashing.length).toBeGreaterThan(2);
  expect(crashing.length).toBeLessThan(10);
  for (const device of crashing) {
    await eventually(() => {
      const beats = service.devices.get(device.deviceId)?.beats ?? [];
      const fatal = beats.filter(({ errors }) => errors.some((error) => error.fatal));
      expect(new Set(fatal.map(({ bootId }) => bootId)).size).toBeGreaterThanOrEqual(2);
    });
  }
});

test("devices crash on the version that they come with too, and fail at nothing else there", async () => {
  await using service = await FixtureService.start();
  await using fleet = await FleetSimulator.start({
    ...optionsFor(service),
    count: 8,
    crash: { "1.0.0": 0.5 },
    revertRate: 0.2,
    silentRate: 0.3,
    crashAfterMs: 50,
  });
  await eventually(() => expect(fleet.snapshot().crashes).toBeGreaterThanOrEqual(8));
  const steady = fleet.devices.filter(({ crashes }) => crashes === 0);
  expect(steady.length).toBeGreaterThan(0);
  await eventually(() => expect(steady.every(({ connected }) => connected)).toBe(true));
});

test("late devices come back, and devices that drift fall back, once each", async () => {
  await using service = await FixtureService.start();
  const offer = offerOf(service, content);
  service.offerFor = (_id, { firmwareVersion }) => (firmwareVersion === "1.0.0" ? offer : undefined);
  await using fleet = await FleetSimulator.start({
    ...optionsFor(service),
    count: 4,
    behaviour: (_version, { index }) => (["late", "drift"] as const)[index % 2] ?? "healthy",
    lateAfterMs: 500,
    driftAfterMs: 300,
  });
  await eventually(() => expect(fleet.snapshot().byActivity).toMatchObject({ silent: 2 }));
  await eventually(() => expect(fleet.snapshot()).toMatchObject({ online: 4, byVersion: { "1.1.0": 4 } }));
  // The update, the fall, and the update again.
  await eventually(() => expect(fleet.devices.map(({ reboots }) => reboots)).toEqual([1, 3, 1, 3]));
  for (const device of fleet.devices) {
    const versions = service.devices
      .get(device.deviceId)
      ?.beats.map(({ firmwareVersion }) => firmwareVersion);
    const seen = versions?.filter((version, at) => version !== versions[at - 1]);
    expect(seen).toEqual(device.reboots === 1 ? ["1.0.0", "1.1.0"] : ["1.0.0", "1.1.0", "1.0.0", "1.1.0"]);
  }
});

test("installations that fail are reported, and devices that revert come back on the old version", async () => {
  await using service = await FixtureService.start();
  const offer = offerOf(service, content);
  const told = new Set<string>();
  service.offerFor = (id, { firmwareVersion }) => {
    if (firmwareVersion !== "1.0.0" || told.has(id)) return undefined;
    told.add(id);
    return offer;
  };
  await using fleet = await FleetSimulator.start({
    ...optionsFor(service),
    count: 4,
    behaviour: (_version, { index }) =>
      (["fail_install", "revert", "silent", "healthy"] as const)[index] ?? "crash",
  });
  await eventually(() => expect(fleet.snapshot().byActivity).toMatchObject({ silent: 1, idle: 3 }));
  await eventually(() => expect(fleet.snapshot()).toMatchObject({ online: 3 }));
  expect(fleet.devices.map(({ version }) => version)).toEqual(["1.0.0", "1.0.0", "1.1.0", "1.1.0"]);
  expect(service.reports.find(({ failureReason }) => failureReason !== "")).toMatchObject({
    failureReason: "INSTALL_FAILED",
  });
});

test("unsteady and slow devices get there too", async () => {
  await using service = await FixtureService.start();
  const offer = offerOf(service, content);
  service.offerFor = (_id, { firmwareVersion }) => (firmwareVersion === "1.0.0" ? offer : undefined);
  await using fleet = await FleetSimulator.start({
    ...optionsFor(service),
    count: 6,
    offlineRate: 1,
    slowRate: 1,
    slowBytesPerSecond: 400_000,
    outageEveryMs: 300,
    outageMs: 100,
  });
  await eventually(() => expect(fleet.snapshot().byVersion).toEqual({ "1.1.0": 6 }));
  expect(service.downloads.some(({ offset }) => offset > 0n)).toBe(true);
});

test("a refused enrolment stops the whole start, and nothing stays behind", async () => {
  const folders = await fleetFolders();
  await using service = await FixtureService.start();
  service.failures.push({ method: "enrolDevice", error: { code: 16, details: "no" } });
  await expect(FleetSimulator.start({ ...optionsFor(service), count: 20 })).rejects.toMatchObject({
    code: 16,
  });
  expect(await fleetFolders()).toEqual(folders);
});

test("the signal ends a start that waits for the service", async () => {
  const folders = await fleetFolders();
  await using service = await FixtureService.start();
  service.pause();
  const controller = new AbortController();
  const starting = FleetSimulator.start({ ...optionsFor(service), count: 3, signal: controller.signal });
  controller.abort();
  await expect(starting).rejects.toThrow();
  await eventually(async () => expect(await fleetFolders()).toEqual(folders));
});

function optionsFor(service: FixtureService) {
  return {
    address: service.address,
    enrolmentKey: "ota_enrol_0123456789",
    trustedKeys: [signingKey.publicKeyPem],
    logger: silentLogger,
    models,
    heartbeatIntervalMs: 200,
    installMs: 10,
    rebootMs: 20,
    maxRetryPauseMs: 100,
  };
}

async function fleetFolders(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith("device-ota-fleet-"));
}
