import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Logger, pino } from "pino";
import { UpdateAction } from "../../gen/ota/v1/rollout_pb.js";
import { DeviceAgent, type DeviceAgentOptions } from "../../src/agent/device-agent.ts";
import type { DeviceSigner } from "../../src/agent/device-signer.ts";
import { FileDeviceStorage } from "../../src/agent/device-storage.ts";
import type { FirmwareImage, Installer } from "../../src/agent/installer.ts";
import { trustIn } from "../../src/agent/offer-check.ts";
import type { SensorReading, Sensors } from "../../src/agent/sensors.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { createManifest, type Manifest } from "../../src/manifest/manifest.ts";
import { generateSigningKey, signManifest } from "../../src/manifest/signature.ts";
import type { FixtureService } from "./fixture-service.ts";

export const silentLogger: Logger = pino({ level: "silent" });
export const signingKey = generateSigningKey();

/** A device for tests: real storage on disk, scripted sensors and an installer that remembers. */
export class TestDevice implements AsyncDisposable {
  version = "1.0.0";
  reading: SensorReading = { batteryPercent: 80, charging: false, storageFreeBytes: 1_000_000_000n };
  readonly installed: FirmwareImage[] = [];
  /** The versions that reboots were asked for. */
  readonly rebootedInto: string[] = [];
  /** Called in the middle of an installation. */
  onInstall: (image: FirmwareImage) => Promise<void> | void = () => undefined;
  /** Whether the next boot runs what was installed. */
  reverts = false;
  readonly storage: FileDeviceStorage;
  readonly #folder: string;
  readonly #service: Pick<FixtureService, "address">;
  #boots = 0;
  #agent: DeviceAgent | undefined;
  #rebooted = Promise.withResolvers<void>();

  private constructor(folder: string, service: Pick<FixtureService, "address">) {
    this.#folder = folder;
    this.#service = service;
    this.storage = new FileDeviceStorage(join(folder, "device"), silentLogger);
  }

  static async make(service: Pick<FixtureService, "address">): Promise<TestDevice> {
    return new TestDevice(await mkdtemp(join(tmpdir(), "device-ota-agent-test-")), service);
  }

  get folder(): string {
    return join(this.#folder, "device");
  }

  get agent(): DeviceAgent {
    if (this.#agent === undefined) throw new Error("the device is off");
    return this.#agent;
  }

  /** Resolves when an update asks for the reboot. */
  get rebootAsked(): Promise<void> {
    return this.#rebooted.promise;
  }

  async boot(options: Partial<DeviceAgentOptions> = {}): Promise<DeviceAgent> {
    this.#boots++;
    this.#rebooted = Promise.withResolvers<void>();
    this.#agent = new DeviceAgent({
      address: this.#service.address,
      enrolment: { enrolmentKey: "ota_enrol_0123456789", serialNumber: "SN-1" },
      deviceType: "thermostat",
      hardwareModel: "tx-200",
      storage: this.storage,
      sensors: this.#sensors(),
      installer: this.#installer(),
      trust: trustIn([signingKey.publicKeyPem]),
      logger: silentLogger,
      clock: systemClock,
      readinessPatienceMs: 0,
      maxRetryPauseMs: 50,
      ...options,
    });
    await this.#agent.start();
    return this.#agent;
  }

  /** Ends this boot as an update asked for it, and boots again. */
  async reboot(options: Partial<DeviceAgentOptions> = {}): Promise<DeviceAgent> {
    await this.agent.stop("reboot");
    const last = this.installed.at(-1);
    if (last !== undefined && !this.reverts) this.version = last.version;
    return this.boot(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent?.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #sensors(): Sensors {
    return {
      bootId: `boot-${this.#boots}`,
      uptimeMs: () => 1000,
      read: () => Promise.resolve(this.reading),
    };
  }

  #installer(): Installer {
    return {
      running: () => Promise.resolve({ version: this.version }),
      install: async (image) => {
        await this.onInstall(image);
        this.installed.push(image);
      },
      reboot: ({ version }, signal) => {
        this.rebootedInto.push(version);
        this.#rebooted.resolve();
        return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      },
    };
  }
}

/** An offer of content with a signed manifest; `fields` change what is signed, `wire` what is offered. */
export function offerOf(
  service: FixtureService,
  bytes: Buffer,
  {
    updateId = "11111111-1111-7111-8111-111111111111",
    version = "1.1.0",
    action = UpdateAction.INSTALL,
    key = signingKey,
    fields = {},
  }: {
    updateId?: string;
    version?: string;
    action?: UpdateAction;
    key?: typeof signingKey;
    fields?: Partial<Manifest>;
  } = {},
) {
  const sha256 = service.addContent(updateId, bytes);
  const manifest = createManifest({
    product: "thermostat",
    version,
    securityCounter: 1,
    securityFix: false,
    sha256,
    sizeBytes: bytes.length,
    deviceTypes: ["thermostat"],
    hardwareModels: ["tx-200"],
    minCurrentVersion: "",
    created: new Date("2026-01-01T00:00:00Z"),
    expires: undefined,
    ...fields,
  });
  return {
    updateId,
    action,
    version,
    sha256,
    sizeBytes: BigInt(bytes.length),
    manifest,
    signatures: [
      { keyId: key.keyId, algorithm: "ed25519", signature: signManifest(key.privateKeyPem, manifest) },
    ],
    minBatteryPercent: 0,
    minFreeStorageBytes: 0n,
  };
}

/** A key in a chip, which takes its time and shows nothing but its public half. */
export function chip(): DeviceSigner {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  return {
    publicKeyPem: publicKey.export({ format: "pem", type: "spki" }).toString(),
    algorithm: "ES256",
    sign: async (bytes) => {
      await new Promise((resolve) => setImmediate(resolve));
      return sign("sha256", bytes, { key: privateKey, dsaEncoding: "ieee-p1363" });
    },
  };
}
