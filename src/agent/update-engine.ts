import { rm } from "node:fs/promises";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Logger } from "pino";
import { NetworkType } from "../../gen/ota/v1/heartbeat_pb.js";
import { DeviceUpdateState } from "../../gen/ota/v1/rollout_pb.js";
import { type Offer, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { maxAskedWaitMs } from "../client/client-error.ts";
import type { RpcClient } from "../client/rpc-client.ts";
import { Alarm } from "../infra/alarm.ts";
import type { Clock } from "../infra/clock.ts";
import { isSameVersion } from "../version/compare-versions.ts";
import { AgentFailure } from "./agent-failure.ts";
import { type DeviceMemory, remember } from "./device-memory.ts";
import type { DeviceStorage, PendingUpdate } from "./device-storage.ts";
import { ChunkDamaged, downloadFirmware, storedBytes } from "./firmware-download.ts";
import { type FirmwareImage, type Installer, InstallFailure, type RunningFirmware } from "./installer.ts";
import type { NetworkGate } from "./network-gate.ts";
import { type Trust, type VerifiedOffer, verifyOffer } from "./offer-check.ts";
import { checkReadiness, NotYet, type UpdateStage } from "./readiness.ts";
import { Retry } from "./retry.ts";
import { hasRun, productOf, withProduct, withRun } from "./run-history.ts";
import type { Sensors } from "./sensors.ts";
import type { TufCheck } from "./tuf-check.ts";
import { callTimeoutMs, isOver, UpdateReports } from "./update-reports.ts";

/** What the device is doing about an update. */
export type UpdatePhase = "idle" | "downloading" | "installing" | "rebooting";

/** What the engine works with. */
export interface UpdateEngineOptions {
  readonly client: RpcClient;
  readonly memory: DeviceMemory;
  readonly storage: DeviceStorage;
  readonly sensors: Sensors;
  readonly installer: Installer;
  /** What runs in this boot. */
  readonly running: RunningFirmware;
  /** The applications that are installed, as the device last read them; undefined for a device without any. */
  readonly components: () => Readonly<Record<string, string>> | undefined;
  /** Reads them anew, after an application was installed, and tells the service with a heartbeat. */
  readonly componentsChanged: () => Promise<void>;
  /** Whether the device's user agrees to be updated now. Default: no. */
  readonly userConsent?: (() => boolean) | undefined;
  /** The device's time zone by its IANA name, for maintenance windows; default that of each window. */
  readonly timeZone?: string | undefined;
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly trust: Trust;
  /** Asked beside it, if the device follows TUF metadata. */
  readonly tuf?: Pick<TufCheck, "requireNamed"> | undefined;
  /** Whose firmware it takes, product by component (empty: the firmware). Default: that of the first signed one that it took. */
  readonly products?: ReadonlyMap<string, string> | undefined;
  /** The largest content that it takes, in bytes. Default 16 GiB. */
  readonly maxFirmwareBytes?: number | undefined;
  readonly gate: NetworkGate;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  /** Called when the phase changes. */
  readonly onPhase: (phase: UpdatePhase) => void;
  /** The time by which offers expire and windows open; undefined if the device cannot tell. */
  readonly trustedTime: () => Date | undefined;
  /** How long to wait for battery or storage before the update is given up, in milliseconds. Default 10 minutes. */
  readonly readinessPatienceMs?: number | undefined;
  /** Highest download rate in bytes per second. */
  readonly bytesPerSecond?: number | undefined;
  /** Asked before each try to download; what it returns is called after it. For many devices on one machine. */
  readonly downloadSlot?: ((signal: AbortSignal) => Promise<() => void>) | undefined;
  /** Upper bound of the waits between tries, in milliseconds. Default 60 s. */
  readonly maxRetryPauseMs?: number | undefined;
}

/**
 * Takes updates: check, verify, download, install, report at each step, reboot. That the service is away or at fault only
 * makes it wait; a failure is reported when the update itself cannot be taken, with a stable reason.
 */
export class UpdateEngine {
  readonly #options: UpdateEngineOptions;
  readonly #retry: Retry;
  readonly #reports: UpdateReports;
  readonly #alarm = new Alarm();
  #work: Work | undefined;

  constructor(options: UpdateEngineOptions) {
    this.#options = options;
    this.#retry = new Retry(options);
    this.#reports = new UpdateReports({ ...options, retry: this.#retry });
  }

  /** Checks now instead of at the next regular time. */
  check(): void {
    this.#alarm.ring();
  }

  /** Stops working on an update and forgets its content, unless it is being installed already. */
  cancel(updateId: string): void {
    if (this.#work?.updateId === updateId && !this.#work.committed) this.#work.cancelled.abort();
  }

  /** Checks and updates until the signal aborts. The first check comes after a random part of a second. */
  async run(signal: AbortSignal): Promise<void> {
    let pauseMs = 1000 * this.#options.random();
    while (!signal.aborted) {
      await this.#alarm.wait(pauseMs, signal);
      if (signal.aborted) return;
      try {
        pauseMs = await this.#checkOnce(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#options.logger.warn({ err: error }, "the update check failed");
        pauseMs = refusedPauseMs * (0.5 + this.#options.random());
      }
    }
  }

  /** One check with all that follows from it. @returns how long to wait before the next one, in milliseconds */
  async #checkOnce(signal: AbortSignal): Promise<number> {
    const { client, memory, random, running, sensors } = this.#options;
    const reading = await sensors.read();
    const response = await this.#retry.run(signal, (attempt) =>
      client.unary(
        UpdateService.method.checkForUpdate,
        {
          firmwareVersion: running.version,
          bootId: sensors.bootId,
          securityCounter: BigInt(memory.state.securityCounter),
          ...pick(reading, "batteryPercent", "charging", "storageFreeBytes"),
          networkType: reading.network?.type ?? NetworkType.UNSPECIFIED,
          components: this.#options.components() ?? {},
          userConsent: this.#options.userConsent?.() ?? false,
        },
        { signal: attempt, timeoutMs: callTimeoutMs },
      ),
    );
    const retryAfterMs =
      response.retryAfter === undefined ? defaultCheckPauseMs : durationMs(response.retryAfter);
    if (response.offer !== undefined) await this.#take(response.offer, signal);
    return Math.min(Math.max(retryAfterMs, minCheckPauseMs), maxAskedWaitMs) * (1 + 0.1 * random());
  }

  async #take(offer: Offer, signal: AbortSignal): Promise<void> {
    const { memory, sensors, logger, onPhase } = this.#options;
    const { pending, reverted } = memory.state;
    // The service offers until it has seen the outcome in the heartbeats, which may be a moment away.
    if (!offer.reinstall && isSameVersion(offer.version, this.#versionOf(offer))) return;
    if (reverted.includes(offer.updateId)) {
      await this.#reports.failure(offer.updateId, revertedFailure(offer.version), signal);
      return;
    }
    // The agent was restarted between installation and reboot.
    const installed = pending?.updateId === offer.updateId && pending.bootId === sensors.bootId;
    const work: Work = {
      updateId: offer.updateId,
      cancelled: new AbortController(),
      committed: installed,
      path: undefined,
    };
    this.#work = work;
    logger.info({ updateId: offer.updateId, version: offer.version }, "taking an update");
    try {
      if (installed) await this.#reboot(pending, signal);
      else await this.#perform(offer, work, AbortSignal.any([signal, work.cancelled.signal]));
    } catch (error) {
      if (signal.aborted) return;
      await this.#giveUp(offer, work, error, signal);
    } finally {
      this.#work = undefined;
      onPhase("idle");
    }
  }

  async #perform(offer: Offer, work: Work, signal: AbortSignal): Promise<void> {
    const { memory, onPhase, sensors, storage } = this.#options;
    const verified = this.#verify(offer);
    await this.#options.tuf?.requireNamed(verified, offer.manifest, signal);
    const path = await storage.downloadPath(verified.sha256);
    work.path = path;
    await this.#becomeReady(offer, "download", path, signal);
    onPhase("downloading");
    const { component, updateId, sizeBytes } = verified;
    await this.#reports.step(updateId, DeviceUpdateState.DOWNLOADING, 0, signal);
    await this.#download(verified, path, signal);
    await this.#reports.step(updateId, DeviceUpdateState.DOWNLOADED, sizeBytes, signal);
    await this.#becomeReady(offer, "install", path, signal);
    // The wait for a window or the user can take days: what has expired by then is not installed. When the offer itself is
    // over, the service says so with the next report.
    const { expireTime: _heldUntil, ...lasting } = offer;
    this.#verify(lasting);
    await this.#options.tuf?.requireNamed(verified, offer.manifest, signal);
    await this.#reports.step(updateId, DeviceUpdateState.INSTALLING, sizeBytes, signal);
    signal.throwIfAborted();
    // From here on a call-off comes too late: a half-written image must not be left behind.
    work.committed = true;
    onPhase("installing");
    await this.#install({ ...verified, path }, signal);
    if (component !== "") {
      await rm(path, { force: true });
      await this.#startApplication(verified);
      return;
    }
    const { version, sha256, securityCounter, product } = verified;
    const pending = {
      updateId,
      product,
      version,
      sha256,
      sizeBytes,
      securityCounter,
      bootId: sensors.bootId,
    };
    await memory.update({ pending });
    await rm(path, { force: true });
    await this.#reboot(pending, signal);
  }

  #verify(offer: Offer): VerifiedOffer {
    const { deviceType, hardwareModel, memory, products, trust, trustedTime } = this.#options;
    const { component } = offer;
    const { ran, securityFloor } = memory.state;
    return verifyOffer(
      offer,
      {
        deviceType,
        hardwareModel,
        version: this.#versionOf(offer),
        securityFloor,
        hasRun: (version) => hasRun(ran, { component, version }),
        product: products?.get(component) ?? productOf(memory.state.products, component),
        maxSizeBytes: this.#options.maxFirmwareBytes ?? defaultMaxFirmwareBytes,
        now: trustedTime(),
      },
      trust,
    );
  }

  async #install(image: FirmwareImage, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.installer.install(image, signal);
    } catch (error) {
      if (error instanceof AgentFailure || signal.aborted) throw error;
      throw new InstallFailure(error instanceof Error ? error.message : String(error));
    }
  }

  /** An application counts without a reboot: the next heartbeat shows it. */
  async #startApplication({ component, product, version }: VerifiedOffer): Promise<void> {
    const { componentsChanged, memory } = this.#options;
    await componentsChanged();
    const now = this.#versionOf({ component });
    if (now !== version) {
      throw new InstallFailure(
        `${component} runs ${now || "not at all"} after the installation of ${version}`,
      );
    }
    const { products, ran } = memory.state;
    await memory.update({
      ran: withRun(ran, { component, version }),
      products: product === undefined ? products : withProduct(products, { component, product }),
    });
  }

  /** The version that runs of what an offer updates. */
  #versionOf({ component }: { readonly component: string }): string {
    if (component === "") return this.#options.running.version;
    const components = this.#options.components() ?? {};
    return (Object.hasOwn(components, component) ? components[component] : undefined) ?? "";
  }

  /** Boots what was installed: as it was verified, not as an offer says now. */
  async #reboot({ updateId, version, sizeBytes }: PendingUpdate, signal: AbortSignal): Promise<void> {
    const { installer, memory, onPhase } = this.#options;
    onPhase("rebooting");
    await this.#reports.step(updateId, DeviceUpdateState.REBOOTING, sizeBytes ?? 0, signal);
    await installer.reboot({ updateId, version }, signal);
    signal.throwIfAborted();
    await memory.update({ pending: undefined, reverted: remember(memory.state.reverted, updateId) });
    throw new InstallFailure("the device did not reboot", "REBOOT_FAILED");
  }

  /** Waits a while for what the offer asks of the device. */
  async #becomeReady(offer: Offer, step: UpdateStage, path: string, signal: AbortSignal): Promise<void> {
    const { clock, readinessPatienceMs = 600_000, sensors, timeZone, trustedTime } = this.#options;
    const pollMs = Math.min(readinessPollMs, this.#options.maxRetryPauseMs ?? readinessPollMs);
    const giveUpAtMs = clock.monotonicMs() + readinessPatienceMs;
    for (;;) {
      signal.throwIfAborted();
      try {
        checkReadiness({
          offer,
          step,
          reading: await sensors.read(),
          alreadyStoredBytes: await storedBytes(path),
          now: trustedTime(),
          timeZone,
          userConsent: this.#options.userConsent?.() ?? false,
        });
        return;
      } catch (error) {
        // For its window, network or user a device waits as long as the offer holds; the service ends it then.
        if (!(error instanceof NotYet) && clock.monotonicMs() >= giveUpAtMs) throw error;
        await new Alarm().wait(pollMs, signal);
      }
    }
  }

  async #download(offer: VerifiedOffer, path: string, signal: AbortSignal): Promise<void> {
    const { bytesPerSecond, client, downloadSlot, logger, storage } = this.#options;
    let damaged = 0;
    let damagedAt = -1;
    await this.#retry.run(signal, async (attempt) => {
      const release = await downloadSlot?.(attempt);
      try {
        const { updateId, sha256, sizeBytes } = offer;
        const onProgress = (bytes: number) => this.#reports.progress(updateId, bytes, attempt);
        const onUrlFailed = (error: unknown) =>
          logger.warn({ err: error, updateId }, "the object store did not give the content");
        const { durable } = storage;
        const stored = await storedBytes(path);
        if (stored > 0) logger.info({ updateId }, `the download goes on at byte ${stored} of ${sizeBytes}`);
        await downloadFirmware(
          { client, updateId, sha256, sizeBytes, path, durable, bytesPerSecond, onProgress, onUrlFailed },
          attempt,
        );
      } catch (error) {
        if (error instanceof ChunkDamaged) {
          const size = await storedBytes(path);
          damaged = size === damagedAt ? damaged + 1 : 1;
          damagedAt = size;
          if (damaged >= maxDamagedTries) throw new AgentFailure("CHUNK_DAMAGED", error.message, error);
        }
        throw error;
      } finally {
        release?.();
      }
    });
  }

  async #giveUp(offer: Offer, work: Work, error: unknown, signal: AbortSignal): Promise<void> {
    const { updateId } = offer;
    const over = work.cancelled.signal.aborted || isOver(error);
    const failure = error instanceof AgentFailure ? error : undefined;
    if (!over && failure === undefined) throw error;
    // What is not verified names no file.
    if (work.path !== undefined) await rm(work.path, { force: true });
    if (over || failure === undefined) this.#options.logger.info({ updateId }, "the update was cancelled");
    else await this.#reports.failure(updateId, failure, signal);
  }
}

/** The failure of an update after whose installation the device came back with another version. */
function revertedFailure(version: string): AgentFailure {
  return new AgentFailure("REVERTED", `the device came back without ${version} after the reboot`);
}

interface Work {
  readonly updateId: string;
  readonly cancelled: AbortController;
  /** Whether the installation has begun. */
  committed: boolean;
  /** Where its content goes; undefined until the offer is verified. */
  path: string | undefined;
}

/** How long to wait between checks if the service does not say, in milliseconds. */
const defaultCheckPauseMs = 60_000;
/** The least time between two checks that nobody asked for, in milliseconds. */
const minCheckPauseMs = 1000;
/** How long to wait after the service refused a check for a reason that will not pass soon, in milliseconds. */
const refusedPauseMs = 60_000;
/** How often to look whether the device has become ready, in milliseconds. */
const readinessPollMs = 5000;
/** How often the same place of a download may arrive damaged before the update is given up. */
const maxDamagedTries = 4;
/** The largest content that a device takes if nobody says otherwise, in bytes. */
const defaultMaxFirmwareBytes = 16 * 2 ** 30;

function pick<T extends object, K extends keyof T>(from: T, ...keys: readonly K[]): Partial<Pick<T, K>> {
  const picked: Partial<Pick<T, K>> = {};
  for (const key of keys) if (from[key] !== undefined) picked[key] = from[key];
  return picked;
}
