import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { UpdateAction } from "../../gen/ota/v1/rollout_pb.js";
import { CommandInstaller } from "../../src/agent/command-installer.ts";
import { trustIn } from "../../src/agent/offer-check.ts";
import type { Manifest } from "../../src/manifest/manifest.ts";
import { offerOf, signingKey, TestDevice } from "../agent/agent-harness.ts";
import { FixtureService, statusOf } from "../agent/fixture-service.ts";
import { eventually } from "../support/eventually.ts";

/** A service that was taken over: it holds no signing key, and says to its devices whatever it likes. */

const content = Buffer.from("an image that somebody signed once");
const second = "22222222-2222-7222-8222-222222222222";

type Offered = ReturnType<typeof offerOf> & {
  readonly allowDowngrade?: boolean;
  readonly component?: string;
};

/** Offers until the device has refused. @returns the reason */
async function refusal(service: FixtureService, offer: Offered): Promise<string | undefined> {
  const failed = () => service.reports.find(({ failureReason }) => failureReason !== "");
  service.offerFor = () => (failed() === undefined ? offer : undefined);
  await eventually(() => expect(failed()).toBeDefined());
  return failed()?.failureReason;
}

/** A device that came with 1.0.0 and was updated to 2.0.0, both of the product `thermostat`. */
async function updatedDevice(service: FixtureService): Promise<TestDevice> {
  const device = await TestDevice.make(service);
  service.offerFor = () => offerOf(service, content, { version: "2.0.0" });
  await device.boot();
  await device.rebootAsked;
  service.offerFor = () => undefined;
  await device.reboot();
  service.reports.length = 0;
  return device;
}

describe("what nobody signed permits nothing", () => {
  it.each<{
    readonly name: string;
    readonly reason: string;
    readonly fields?: Partial<Manifest>;
    readonly said: { readonly action?: UpdateAction; readonly allowDowngrade?: boolean };
  }>([
    {
      name: "an old build with `allow_downgrade`",
      reason: "DOWNGRADE_REFUSED",
      said: { allowDowngrade: true },
    },
    {
      name: "an old build as a rollback, that never ran here",
      reason: "DOWNGRADE_REFUSED",
      said: { action: UpdateAction.ROLLBACK },
    },
    {
      name: "an old build that may be gone back to, but not from so new a version",
      reason: "DOWNGRADE_REFUSED",
      fields: { downgradeFrom: "1.9.0" },
      said: { action: UpdateAction.ROLLBACK },
    },
    {
      name: "a rollback to what cannot be installed from here",
      reason: "VERSION_TOO_OLD",
      fields: { minCurrentVersion: "9.0.0", downgradeFrom: "9.0.0" },
      said: { action: UpdateAction.ROLLBACK },
    },
    {
      name: "another product for the same device type",
      reason: "WRONG_PRODUCT",
      fields: { product: "factory-test-image" },
      said: {},
    },
  ])("$name: $reason", async ({ reason, fields = {}, said }) => {
    await using service = await FixtureService.start();
    await using device = await updatedDevice(service);
    const version = reason === "WRONG_PRODUCT" ? "3.0.0" : "1.5.0";
    const offer = offerOf(service, content, { updateId: second, version, fields });
    expect(await refusal(service, { ...offer, ...said })).toBe(reason);
    expect(device.installed).toHaveLength(1);
    expect(service.downloads).toHaveLength(1);
  });

  it.each([
    ["it ran before", "1.0.0", {}],
    ["its manifest allows it", "1.5.0", { downgradeFrom: "2.0.0" }],
  ])("a device goes back to a version because %s", async (_why, version, fields) => {
    await using service = await FixtureService.start();
    await using device = await updatedDevice(service);
    const action = UpdateAction.ROLLBACK;
    service.offerFor = () => offerOf(service, content, { updateId: second, version, action, fields });
    await device.rebootAsked;
    expect(device.installed.at(-1)).toMatchObject({ version, rollback: true });
  });

  it("a newer version is installed as one, whatever it is called", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    service.offerFor = () => offerOf(service, content, { action: UpdateAction.ROLLBACK });
    await device.boot();
    await device.rebootAsked;
    expect(device.installed[0]).toMatchObject({ version: "1.1.0", rollback: false });
  });

  it("a product that was set holds from the first update on", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const reason = refusal(service, offerOf(service, content));
    await device.boot({ products: new Map([["", "thermostat-os"]]) });
    expect(await reason).toBe("WRONG_PRODUCT");
  });

  it("what expires while the device waits for its user is not installed", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const expires = new Date("2026-06-01T00:00:00Z");
    let [now, userConsent] = [new Date("2026-05-31T00:00:00Z"), false];
    const offer = { ...offerOf(service, content, { fields: { expires } }), requireUserConsent: true };
    const refused = refusal(service, offer);
    await device.boot({
      clock: { now: () => now, monotonicMs: () => performance.now() },
      userConsent: () => userConsent,
    });
    await eventually(() => expect(service.states).toContain("DOWNLOADED"));
    [now, userConsent] = [expires, true];
    expect(await refused).toBe("FIRMWARE_EXPIRED");
    expect(device.installed).toEqual([]);
  });

  it("what was installed is booted as it was verified, whatever the offer says by then", async () => {
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
    service.offerFor = () => ({ ...offer, version: "$(reboot)" });
    await device.boot();
    await device.rebootAsked;
    expect(device.rebootedInto).toEqual(["1.1.0", "1.1.0"]);
  });
});

describe("fields that are none", () => {
  const unsigned = { manifest: new Uint8Array(), signatures: [] };
  it.each<[string, string, Partial<Offered>]>([
    ["a SHA-256 that names another file", "INVALID_OFFER", { sha256: "../../victim" }],
    ["a SHA-256 with a path behind it", "INVALID_OFFER", { sha256: `${"a".repeat(64)}/../../../victim` }],
    ["a version with a line break", "INVALID_VERSION", { version: "1.1.0\nX" }],
    ["a component that is a path", "INVALID_OFFER", { component: "../nav" }],
    ["a size beyond counting", "INVALID_OFFER", { sizeBytes: 2n ** 64n - 1n }],
    ["no size at all", "INVALID_OFFER", { sizeBytes: 0n }],
    ["an update id with a NUL", "INVALID_OFFER", { updateId: "a\0b" }],
    ["content beyond what the device takes", "FIRMWARE_TOO_LARGE", { sizeBytes: 2n ** 50n }],
  ])("%s: %s, also where unsigned firmware is taken", async (_name, reason, fields) => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const victim = join(device.folder, "..", "victim");
    await writeFile(victim, "precious");
    const refused = refusal(service, { ...offerOf(service, content), ...unsigned, ...fields });
    await device.boot({ trust: trustIn([signingKey.publicKeyPem], { allowUnsigned: true }) });
    expect(await refused).toBe(reason);
    expect(service.downloads).toEqual([]);
    expect(existsSync(join(device.folder, "downloads"))).toBe(false);
    expect(await readFile(victim, "utf8")).toBe("precious");
  });

  it("a storage gives no path for what is no digest", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    for (const sha256 of ["../../victim", "", "A".repeat(64), `${"a".repeat(64)}\n`]) {
      await expect(device.storage.downloadPath(sha256)).rejects.toMatchObject({ reason: "INVALID_OFFER" });
    }
  });

  it("chunks without content end a download instead of holding it for ever", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    service.downloadFaults.push(...Array.from({ length: 4 }, () => ({ kind: "empty" }) as const));
    const refused = refusal(service, offerOf(service, content));
    await device.boot();
    expect(await refused).toBe("CHUNK_DAMAGED");
    await eventually(async () => expect(await readdir(join(device.folder, "downloads"))).toEqual([]));
  });
});

describe("the operator's commands", () => {
  const image = {
    path: "/tmp/image",
    version: "1.1.0",
    sha256: "00",
    sizeBytes: 1,
    rollback: false,
    component: "",
  };

  it("get nothing that is the agent's own, and no update id runs", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const said = join(device.folder, "..", "said");
    const installer = installerOf(`env > ${said}`);
    process.env["DEVICE_OTA_ENROLMENT_KEY"] = "ota_enrol_secret";
    try {
      const updateId = `$(touch ${said}.ran)`;
      await installer.install({ ...image, updateId }, AbortSignal.timeout(10_000));
      const environment = await readFile(said, "utf8");
      expect(environment).toContain(`OTA_UPDATE_ID=${updateId}`);
      expect(environment).not.toContain("ota_enrol_secret");
      expect(existsSync(`${said}.ran`)).toBe(false);
    } finally {
      delete process.env["DEVICE_OTA_ENROLMENT_KEY"];
    }
  });

  it("a NUL in what they are to get is a failed installation", async () => {
    const installed = installerOf("true").install(
      { ...image, updateId: "a\0b" },
      AbortSignal.timeout(10_000),
    );
    await expect(installed).rejects.toMatchObject({ name: "AgentFailure", reason: "INSTALL_FAILED" });
  });

  function installerOf(installCommand: string): CommandInstaller {
    return new CommandInstaller({ installCommand, rebootCommand: "true", versionFile: "/none" });
  }
});

describe("times and answers without sense", () => {
  it("error details that cannot be read do not end the agent", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", Buffer.from([0xff, 0xff, 0xff]));
    service.failures.push({
      method: "checkForUpdate",
      error: { code: status.UNAVAILABLE, details: "x", metadata },
    });
    await device.boot();
    await eventually(() => expect(service.checks.length).toBeGreaterThan(1));
  });

  it("an epoch that no counter can reach is not taken over", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    for (const epoch of ["NaN", "1e300", "-1", "4294967296"]) {
      service.streamFailures.push(statusOf(status.FAILED_PRECONDITION, "STALE_EPOCH", { epoch }));
    }
    await device.boot();
    await eventually(() => expect(service.device.beats.length).toBeGreaterThan(0));
    const epoch = (await device.storage.load())?.epoch ?? 0;
    expect(Number.isInteger(epoch) && epoch < 10).toBe(true);
  });

  it("an identity that no header can carry is not kept", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    service.identity = { device: { id: "x" }, deviceToken: "a\r\nb" };
    await expect(device.boot()).rejects.toMatchObject({ reason: "INVALID_IDENTITY" });
    expect((await device.storage.load())?.identity).toBeUndefined();
  });

  it("a time that has passed means now, and now comes after a pause", async () => {
    await using service = await FixtureService.start();
    await using device = await TestDevice.make(service);
    await device.boot();
    await eventually(() => expect(service.device.beats.length).toBeGreaterThan(0));
    const before = service.device.hellos.length;
    service.direct(service.device, { case: "reconnect", value: { after: durationFromMs(-1e9) } });
    await eventually(() => expect(service.device.hellos.length).toBeGreaterThan(before));
  });
});
