import { randomBytes } from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { DeviceUpdateState, UpdateAction } from "../../gen/ota/v1/rollout_pb.js";
import { generateSigningKey } from "../../src/manifest/signature.ts";
import { eventually } from "../support/eventually.ts";
import { offerOf, TestDevice } from "./agent-harness.ts";
import { FixtureService, statusOf } from "./fixture-service.ts";

const content = randomBytes(1024 * 1024 + 17);
const goodPath = ["DOWNLOADING", "DOWNLOADED", "INSTALLING", "REBOOTING"];

describe("an update that goes well", () => {
  test("is downloaded whole, installed, reported at each step and proven by the next boot", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content);
    service.offerFor = () => offer;
    let installed: Buffer | undefined;
    device.onInstall = async ({ path }) => {
      installed = await readFile(path);
    };
    await device.boot();
    await device.rebootAsked;
    expect(installed?.equals(content)).toBe(true);
    expect(service.states).toEqual(goodPath);
    expect(await readdir(join(device.folder, "downloads"))).toEqual([]);
    await device.reboot();
    await eventually(() =>
      expect(service.device.beats.at(-1)).toMatchObject({
        firmwareVersion: "1.1.0",
        bootId: "boot-2",
        securityCounter: 1n,
      }),
    );
    // The service still offers it, because it has not judged the heartbeats yet: nothing happens again.
    const checks = service.checks.length;
    await eventually(() => expect(service.checks.length).toBeGreaterThan(checks + 1));
    expect(device.installed).toHaveLength(1);
    const state = await device.storage.load();
    expect([state?.securityFloor, state?.pending]).toEqual([1, undefined]);
  });

  test("is installed over the same version only if the offer says so", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content, { version: "1.0.0" });
    service.offerFor = () => offer;
    await device.boot();
    await eventually(() => expect(service.checks.length).toBeGreaterThan(2));
    expect(service.states).toEqual([]);
    service.offerFor = () => ({ ...offer, reinstall: true });
    await device.rebootAsked;
    expect(service.states).toEqual(goodPath);
    expect(device.installed).toHaveLength(1);
  });

  test("goes on from the byte where the connection broke, also after a restart of the agent", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    service.downloadFaults.push({ kind: "cut", at: 320 * 1024 });
    const offer = offerOf(service, content);
    service.offerFor = () => offer;
    await device.boot({ maxRetryPauseMs: 3_600_000 });
    await eventually(() => expect(service.downloads).toHaveLength(1));
    await eventually(async () =>
      expect((await stat(join(device.folder, "downloads", offer.sha256))).size).toBe(320 * 1024),
    );
    await device.reboot();
    await device.rebootAsked;
    expect(service.downloads.map(({ offset }) => Number(offset))).toEqual([0, 320 * 1024]);
    expect(device.installed).toHaveLength(1);
  });

  test("survives a chunk that is damaged on the way", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    service.downloadFaults.push({ kind: "corrupt", at: 128 * 1024 });
    const offer = offerOf(service, content);
    service.offerFor = () => offer;
    await device.boot();
    await device.rebootAsked;
    expect(service.downloads.map(({ offset }) => Number(offset))).toEqual([0, 128 * 1024]);
    expect(service.states).toEqual(goodPath);
  });

  test("does not trust a leftover of the right size that was damaged on the disk", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content);
    await writeFile(await device.storage.downloadPath(offer.sha256), Buffer.alloc(content.length));
    service.offerFor = () => offer;
    await device.boot();
    await device.rebootAsked;
    expect(service.states).toEqual(goodPath);
  });

  test("takes a rollback to a lower version with the same security counter", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    device.version = "1.1.0";
    await device.boot();
    device.version = "1.2.0";
    await device.reboot();
    const offer = offerOf(service, content, { action: UpdateAction.ROLLBACK, version: "1.1.0" });
    service.offerFor = () => offer;
    await device.rebootAsked;
    expect(device.installed[0]).toMatchObject({ version: "1.1.0", rollback: true });
  });
});

describe("the service's own faults", () => {
  test("are waited out and never reported as the device's failure", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const away = { code: status.UNAVAILABLE, details: "away" };
    service.failures.push(
      { method: "checkForUpdate", error: away },
      { method: "checkForUpdate", error: statusOf(status.RESOURCE_EXHAUSTED, "RATE_LIMITED") },
      { method: "reportUpdateStatus", error: away },
      { method: "reportUpdateStatus", error: { code: status.INTERNAL, details: "oh" } },
    );
    service.downloadFaults.push(
      { kind: "status", error: statusOf(status.DATA_LOSS, "STORED_OBJECT_CORRUPT") },
      { kind: "status", error: statusOf(status.UNAVAILABLE, "STORAGE_UNAVAILABLE") },
      { kind: "cut", at: 64 * 1024 },
    );
    const offer = offerOf(service, content);
    service.offerFor = () => offer;
    await device.boot();
    await device.rebootAsked;
    expect(service.states).toEqual(goodPath);
  });

  test("an update that the service no longer knows is dropped in silence", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content);
    service.content.clear();
    service.offerFor = () => (service.downloads.length > 0 ? undefined : offer);
    await device.boot();
    await eventually(() => expect(service.downloads).toHaveLength(1));
    const checks = service.checks.length;
    await eventually(() => expect(service.checks.length).toBeGreaterThan(checks));
    expect(service.states).toEqual(["DOWNLOADING"]);
  });
});

describe("an update that must not be taken is refused with a stable reason", () => {
  const stranger = generateSigningKey();
  const yesterday = new Date(Date.now() - 86_400_000);
  test.each<{
    readonly name: string;
    readonly reason: string;
    readonly offer: (service: FixtureService) => ReturnType<typeof offerOf>;
    readonly prepare?: (device: TestDevice, service: FixtureService) => void;
    readonly downloads?: number;
  }>([
    {
      name: "a signature of a key that the device does not trust",
      reason: "SIGNATURE_INVALID",
      offer: (service) => offerOf(service, content, { key: stranger }),
    },
    {
      name: "a manifest with one bit changed",
      reason: "SIGNATURE_INVALID",
      offer: (service) => {
        const offer = offerOf(service, content);
        const manifest = Uint8Array.from(offer.manifest);
        manifest[100] = (manifest[100] ?? 0) ^ 1;
        return { ...offer, manifest };
      },
    },
    {
      name: "bytes that are no manifest at all, unsigned: they are not even parsed",
      reason: "SIGNATURE_INVALID",
      offer: (service) => ({ ...offerOf(service, content), manifest: Buffer.from("{"), signatures: [] }),
    },
    {
      name: "no manifest",
      reason: "SIGNATURE_MISSING",
      offer: (service) => ({ ...offerOf(service, content), manifest: new Uint8Array() }),
    },
    {
      name: "a manifest that has expired",
      reason: "FIRMWARE_EXPIRED",
      offer: (service) => offerOf(service, content, { fields: { expires: yesterday } }),
    },
    {
      name: "an offer of yesterday",
      reason: "OFFER_EXPIRED",
      offer: (service) => ({ ...offerOf(service, content), expireTime: timestampFromDate(yesterday) }),
    },
    {
      name: "another version than was signed",
      reason: "MANIFEST_MISMATCH",
      offer: (service) => ({ ...offerOf(service, content), version: "1.1.1" }),
    },
    {
      name: "another size than was signed",
      reason: "MANIFEST_MISMATCH",
      offer: (service) => ({ ...offerOf(service, content), sizeBytes: 5n }),
    },
    {
      name: "firmware for another hardware model",
      reason: "WRONG_HARDWARE_MODEL",
      offer: (service) => offerOf(service, content, { fields: { hardwareModels: ["tx-300"] } }),
    },
    {
      name: "firmware for another device type",
      reason: "WRONG_DEVICE_TYPE",
      offer: (service) => offerOf(service, content, { fields: { deviceTypes: ["gateway"] } }),
    },
    {
      name: "a downgrade that is no rollback",
      reason: "DOWNGRADE_REFUSED",
      offer: (service) => offerOf(service, content, { version: "0.9.0" }),
    },
    {
      name: "a version that cannot be installed from this one",
      reason: "VERSION_TOO_OLD",
      offer: (service) => offerOf(service, content, { fields: { minCurrentVersion: "1.0.5" } }),
    },
    {
      name: "too little battery without a charger",
      reason: "BATTERY_TOO_LOW",
      offer: (service) => ({ ...offerOf(service, content), minBatteryPercent: 81 }),
    },
    {
      name: "too little free storage",
      reason: "STORAGE_TOO_LOW",
      offer: (service) => ({ ...offerOf(service, content), minFreeStorageBytes: 2_000_000_000n }),
    },
    {
      name: "other content under the right name",
      reason: "DIGEST_MISMATCH",
      offer: (service) => offerOf(service, content),
      prepare: (_device, service) => service.downloadFaults.push({ kind: "other-content" }),
      downloads: 1,
    },
    {
      name: "content without end",
      reason: "SIZE_MISMATCH",
      offer: (service) => offerOf(service, content),
      prepare: (_device, service) => service.downloadFaults.push({ kind: "endless" }),
      downloads: 1,
    },
    {
      name: "a place that arrives damaged again and again",
      reason: "CHUNK_DAMAGED",
      offer: (service) => offerOf(service, content),
      prepare: (_device, service) =>
        service.downloadFaults.push(
          ...Array.from({ length: 4 }, () => ({ kind: "corrupt", at: 0 }) as const),
        ),
      downloads: 4,
    },
    {
      name: "an installer that fails",
      reason: "INSTALL_FAILED",
      offer: (service) => offerOf(service, content),
      prepare: (device) => {
        device.onInstall = () => {
          throw new Error("the flash is worn out");
        };
      },
      downloads: 1,
    },
  ])("$name: $reason", async ({ reason, offer: makeOffer, prepare, downloads = 0 }) => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = makeOffer(service);
    prepare?.(device, service);
    service.offerFor = () => (service.states.includes("FAILED") ? undefined : offer);
    await device.boot();
    await eventually(() => expect(service.states).toContain("FAILED"));
    expect(service.reports.at(-1)).toMatchObject({ failureReason: reason, updateId: offer.updateId });
    expect(service.downloads).toHaveLength(downloads);
    expect(device.installed).toEqual([]);
    await eventually(async () => expect(await downloadsOf(device)).toEqual([]));
  });

  test("a rollback below the security counter that the device has run: SECURITY_COUNTER_TOO_LOW", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const secure = offerOf(service, content, { fields: { securityCounter: 5 } });
    service.offerFor = () => secure;
    await device.boot();
    await device.rebootAsked;
    const old = offerOf(service, content, {
      updateId: "22222222-2222-7222-8222-222222222222",
      action: UpdateAction.ROLLBACK,
      version: "1.0.0",
      fields: { securityCounter: 4 },
    });
    service.offerFor = () => (service.states.includes("FAILED") ? undefined : old);
    await device.reboot();
    await eventually(() => expect(service.reports.at(-1)?.failureReason).toBe("SECURITY_COUNTER_TOO_LOW"));
    expect(device.installed).toHaveLength(1);
  });
});

describe("cancels", () => {
  test("a directive stops a download and its bytes are forgotten", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content);
    service.offerFor = () => (service.downloads.length > 0 ? undefined : offer);
    const phases: string[] = [];
    await device.boot({ bytesPerSecond: 100_000, onPhase: (phase) => phases.push(phase) });
    await eventually(async () => expect(await downloadsOf(device)).toHaveLength(1));
    await eventually(() => expect(service.downloads).toHaveLength(1));
    service.direct(service.device, { case: "cancelUpdate", value: { updateId: offer.updateId } });
    await eventually(() => expect(phases.at(-1)).toBe("idle"));
    expect(await downloadsOf(device)).toEqual([]);
    expect(service.states).toEqual(["DOWNLOADING"]);
  });

  test("the answer to a report stops an update that is over", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content);
    service.offerFor = () => (service.downloads.length > 0 ? undefined : offer);
    service.reportAnswer = ({ state }) =>
      state === DeviceUpdateState.DOWNLOADED ? DeviceUpdateState.CANCELLED : state;
    const phases: string[] = [];
    await device.boot({ onPhase: (phase) => phases.push(phase) });
    await eventually(() => expect(phases).toEqual(["downloading", "idle"]));
    expect(device.installed).toEqual([]);
  });

  test("come too late for an installation", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content);
    service.offerFor = () => offer;
    device.onInstall = async () => {
      service.direct(service.device, { case: "cancelUpdate", value: { updateId: offer.updateId } });
      service.direct(service.device, { case: "updateAvailable", value: { rolloutId: "r" } });
      const beats = service.device.beats.length;
      await eventually(() => expect(service.device.beats.length).toBeGreaterThan(beats + 1));
    };
    await device.boot();
    await device.rebootAsked;
    expect(service.states).toEqual(goodPath);
  });
});

describe("the reboot", () => {
  test("that brings back the old version is told once as REVERTED and not tried again", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content, { fields: { securityCounter: 3 } });
    service.offerFor = () => (service.states.includes("FAILED") ? undefined : offer);
    device.reverts = true;
    await device.boot();
    await device.rebootAsked;
    await device.reboot();
    await eventually(() => expect(service.reports.at(-1)?.failureReason).toBe("REVERTED"));
    expect(device.installed).toHaveLength(1);
    // The floor stays where it was: the old image can still run.
    const state = await device.storage.load();
    expect([state?.securityFloor, state?.pending]).toEqual([0, undefined]);
  });

  test("is asked for again if only the agent was restarted after the installation", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const offer = offerOf(service, content);
    service.offerFor = () => offer;
    await device.boot();
    await device.rebootAsked;
    const state = await device.storage.load();
    await device.agent.stop();
    if (state?.pending === undefined) throw new Error("nothing pending");
    await device.storage.save({ ...state, pending: { ...state.pending, bootId: "boot-2" } });
    await device.boot();
    await device.rebootAsked;
    expect(device.installed).toHaveLength(1);
    expect(service.states).toEqual([...goodPath, "REBOOTING"]);
  });
});

async function downloadsOf(device: TestDevice): Promise<string[]> {
  try {
    return await readdir(join(device.folder, "downloads"));
  } catch {
    return [];
  }
}
