import { LRUCache } from "lru-cache";
import type pg from "pg";
import { v7 as uuidv7 } from "uuid";
import type { DeviceSnapshot } from "../device/device-snapshot.ts";
import { notFound, OtaError } from "../errors.ts";
import type { Firmware } from "../firmware/firmware.ts";
import type { Download, FirmwareDownloads } from "../firmware/firmware-downloads.ts";
import type { Clock } from "../infra/clock.ts";
import { asDatabaseError } from "../infra/database/errors.ts";
import type { CompiledRollout } from "./compiled-rollout.ts";
import type { DeviceUpdateState } from "./device-update.entity.ts";
import { isFinalUpdate, type ReportableState, stateAfterReport } from "./device-update-state.ts";
import {
  type CheckedDevice,
  decideOffer,
  type NoOffer,
  none,
  type OfferDecision,
  type OfferFacts,
  tooManyInProgress,
  unmetPrecondition,
} from "./offer-decision.ts";
import type { OpenUpdate } from "./open-update.ts";
import { readStates } from "./open-update-rows.ts";
import type { OutageLedger } from "./outage-ledger.ts";
import type { Ring } from "./rollout.ts";
import type { OfferFirmware, RolloutIndex } from "./rollout-index.ts";
import type { UpdateChange } from "./transition-sql.ts";
import type { TransitionWriter } from "./transition-writer.ts";
import type { UpdateTracker } from "./update-tracker.ts";

/** What a device says of itself when it checks; what is undefined is taken from its newest heartbeat. */
export interface CheckReading {
  readonly firmwareVersion: string;
  /** Empty if the device did not say. */
  readonly bootId: string;
  readonly securityCounter: number;
  readonly batteryPercent?: number | undefined;
  readonly charging?: boolean | undefined;
  readonly storageFreeBytes?: number | undefined;
}

/** The answer to an update check. */
export type CheckAnswer =
  | { readonly kind: "offer"; readonly update: Readonly<OpenUpdate>; readonly firmware: Firmware }
  | NoOffer;

/** What a device reports of its update. */
export interface UpdateReport {
  readonly updateId: string;
  readonly state: ReportableState;
  readonly failureReason: string;
  readonly failureMessage: string;
  readonly downloadedBytes: number;
}

/** A download that a device may have, and what it is of. */
export interface OpenedDownload extends Download {
  readonly sha256: string;
}

/** What an {@link UpdateDesk} is made of. */
export interface UpdateDeskParts {
  readonly pool: pg.Pool;
  readonly devices: DeviceSource;
  readonly index: RolloutIndex;
  readonly tracker: UpdateTracker;
  readonly writer: TransitionWriter;
  readonly downloads: Pick<FirmwareDownloads, "open">;
  readonly outages: OutageLedger;
  readonly clock: Clock;
}

/** The devices, in memory where possible. */
export interface DeviceSource {
  get(deviceId: string, signal?: AbortSignal): DeviceSnapshot | Promise<DeviceSnapshot>;
}

/** Serves devices: what waits for them, its content, and what they report of it. */
export class UpdateDesk implements OfferFacts {
  readonly #parts: UpdateDeskParts;
  /** Devices known to have had a rollout's update, so that they cost no write at each check. */
  readonly #tried = new LRUCache<string, true>({ max: maxTried });
  /** Offers that are being stored, by device: a device that asks twice at once gets one. */
  readonly #offering = new Map<string, Promise<CheckAnswer>>();

  constructor(parts: UpdateDeskParts) {
    this.#parts = parts;
  }

  /**
   * Answers an update check: the open update if there is one, else what the rollouts decide. At once, without touching
   * the database, unless an offer has to be stored or the device is not in memory.
   */
  check(deviceId: string, reading: CheckReading, signal?: AbortSignal): CheckAnswer | Promise<CheckAnswer> {
    const device = this.#parts.devices.get(deviceId, signal);
    return device instanceof Promise
      ? device.then((loaded) => this.#answer(loaded, reading))
      : this.#answer(device, reading);
  }

  /** The rollout whose update a device would be given if it asked now, by its newest heartbeat. */
  waitingFor(deviceId: string): string | undefined | Promise<string | undefined> {
    const device = this.#parts.devices.get(deviceId);
    return device instanceof Promise ? device.then((loaded) => this.#waiting(loaded)) : this.#waiting(device);
  }

  /**
   * Takes a device's report; returns where its update stands then. Reports go forward only, the same again is harmless.
   * `NOT_OFFERED` if the device never had that update.
   */
  async report(deviceId: string, report: UpdateReport): Promise<DeviceUpdateState> {
    const key = { deviceId, id: report.updateId };
    const bootId = await this.#bootOf(deviceId);
    for (let attempt = 0; attempt < 2; attempt++) {
      const plan = (update: Readonly<OpenUpdate>) =>
        planReport(update, report, bootId, this.#parts.clock.now());
      const state = await this.#parts.tracker.change(key, plan);
      if (state !== undefined) return state;
      const stored = (await readStates(this.#parts.pool, [key])).get(report.updateId);
      if (stored === undefined) throw notOffered();
      if (isFinalUpdate(stored)) return stored;
      await this.#parts.tracker.load(deviceId);
    }
    throw new OtaError("aborted", "INTERNAL", "the update changes too fast; report again", {
      retryAfterMs: 1_000,
    });
  }

  /** Opens the content of a device's open update. `NOT_OFFERED`, in the same words, for any other. */
  async openDownload(
    deviceId: string,
    updateId: string,
    range: { readonly offset: number; readonly limit: number; readonly signal: AbortSignal },
  ): Promise<OpenedDownload> {
    const { tracker, downloads, outages, clock, index } = this.#parts;
    let update = tracker.get(deviceId);
    if (update?.id !== updateId) update = await tracker.load(deviceId);
    if (update?.id !== updateId) throw notOffered();
    const offered = await index.firmware(update.firmwareId);
    if (offered === undefined || offered.blocked !== undefined) throw notOffered();
    const { sha256, sizeBytes } = offered.firmware;
    try {
      const download = await downloads.open(sha256, { ...range, sizeBytes });
      outages.worked("object_store", clock.now().getTime());
      return { ...download, sha256, chunks: this.#watched(download.chunks) };
    } catch (error) {
      this.#noteStorage(error);
      throw error;
    }
  }

  wasTried(rolloutId: string, deviceId: string): boolean {
    return this.#tried.size > 0 && this.#tried.has(`${rolloutId}:${deviceId}`);
  }

  inProgress(rolloutId: string): number {
    return this.#parts.tracker.inProgress(rolloutId);
  }

  #answer(device: DeviceSnapshot, reading: CheckReading): CheckAnswer | Promise<CheckAnswer> {
    if (device.retired) return none("UP_TO_DATE", "the device is retired");
    const checked = checkedDevice(device, reading);
    const update = this.#parts.tracker.get(device.id);
    if (update !== undefined) return this.#answerOpen(update, checked);
    const decision = this.#decide(checked);
    return decision.kind === "none" ? decision : this.#offer(checked, decision.rollout, decision.ring);
  }

  #decide(device: CheckedDevice): OfferDecision {
    return decideOffer(device, this.#parts.index.candidates(device.deviceType), this);
  }

  #waiting(device: DeviceSnapshot): string | undefined {
    if (device.retired) return undefined;
    const update = this.#parts.tracker.get(device.id);
    if (update !== undefined) return update.state === "OFFERED" ? update.rolloutId : undefined;
    const decision = this.#decide(device);
    return decision.kind === "offer" ? decision.rollout.id : undefined;
  }

  #answerOpen(update: Readonly<OpenUpdate>, device: CheckedDevice): CheckAnswer | Promise<CheckAnswer> {
    // A device that runs what it is meant to run must not install it again: its heartbeats do the rest.
    if (update.state === "VERIFYING" || runsTarget(update, device)) {
      return none("UP_TO_DATE", `${update.toVersion} is installed; heartbeats have to prove it`);
    }
    const firmware = this.#parts.index.firmware(update.firmwareId);
    return firmware instanceof Promise
      ? firmware.then((loaded) => offerOf(update, loaded, device))
      : offerOf(update, firmware, device);
  }

  #offer(device: CheckedDevice, rollout: CompiledRollout, ring: Ring): Promise<CheckAnswer> {
    const under = this.#offering.get(device.id);
    if (under !== undefined) return under;
    const offering = this.#makeOffer(device, rollout, ring).finally(() => this.#offering.delete(device.id));
    this.#offering.set(device.id, offering);
    return offering;
  }

  async #makeOffer(device: CheckedDevice, compiled: CompiledRollout, ring: Ring): Promise<CheckAnswer> {
    const { tracker, writer, clock, index } = this.#parts;
    const { rollout, firmware } = compiled;
    const now = clock.now();
    const update: OpenUpdate = {
      deviceId: device.id,
      id: uuidv7(),
      rolloutId: rollout.id,
      ringId: ring.id,
      firmwareId: firmware.id,
      action: "INSTALL",
      state: "OFFERED",
      fromVersion: device.firmwareVersion,
      toVersion: firmware.version,
      fromBootId: device.bootId,
      crashCount: 0,
      offeredAtMs: now.getTime(),
      installingAtMs: undefined,
      provenAtMs: undefined,
      verifyUntilMs: undefined,
      deadlineAtMs: now.getTime() + rollout.policy.deviceTimeoutMs,
      taken: false,
      verificationMs: rollout.policy.verificationMs,
      crashLimit: rollout.policy.crashLimit,
      watchedBootId: undefined,
    };
    const { product } = firmware;
    const outcome = await writer.offer({
      ...update,
      product,
      offeredAt: now,
      deadlineAt: new Date(update.deadlineAtMs),
    });
    switch (outcome) {
      case "offered":
        tracker.add(update);
        return { kind: "offer", update, firmware };
      case "too_many":
        return tooManyInProgress(rollout.policy.maxInProgress ?? 0);
      case "open": {
        const open = await tracker.load(device.id);
        return open === undefined
          ? none("TOO_MANY_IN_PROGRESS", "try again")
          : this.#answerOpen(open, device);
      }
      case "tried":
        this.#tried.set(`${rollout.id}:${device.id}`, true);
        break;
      case "not_open":
        // What is in memory is behind what the database says.
        await index.reload();
        return none("RING_NOT_OPEN", `rollout ${rollout.name} makes no offer to this ring at the moment`);
    }
    // The next rollout may have something.
    const decision = this.#decide(device);
    return decision.kind === "none" ? decision : this.#makeOffer(device, decision.rollout, decision.ring);
  }

  /** The boot that a device is in, if its registry entry is at hand. */
  async #bootOf(deviceId: string): Promise<string> {
    try {
      return (await this.#parts.devices.get(deviceId)).bootId;
    } catch (error) {
      throw asDatabaseError(error) ?? (error instanceof OtaError ? error : notFound("device", deviceId));
    }
  }

  async *#watched(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    try {
      yield* chunks;
    } catch (error) {
      this.#noteStorage(error);
      throw error;
    }
  }

  #noteStorage(error: unknown): void {
    const { outages, clock } = this.#parts;
    const away = error instanceof OtaError && error.reason === "STORAGE_UNAVAILABLE";
    if (away) outages.failed("object_store", clock.now().getTime());
  }
}

/** The device has not been offered this update, or there is none of that id: the same words for both. */
export function notOffered(): OtaError {
  return new OtaError(
    "permission_denied",
    "NOT_OFFERED",
    "the device has not been offered this update (or it might not exist)",
  );
}

/** Pairs of rollout and device that are remembered, at some 150 bytes each. */
const maxTried = 100_000;

function checkedDevice(device: DeviceSnapshot, reading: CheckReading): CheckedDevice {
  return {
    id: device.id,
    deviceType: device.deviceType,
    hardwareModel: device.hardwareModel,
    groups: device.groups,
    firmwareVersion: reading.firmwareVersion,
    bootId: reading.bootId || device.bootId,
    securityCounter: Math.max(reading.securityCounter, device.securityCounter),
    batteryPercent: reading.batteryPercent ?? device.batteryPercent,
    charging: reading.charging ?? device.charging,
    storageFreeBytes: reading.storageFreeBytes ?? device.storageFreeBytes,
  };
}

function runsTarget(update: Readonly<OpenUpdate>, { firmwareVersion, bootId }: CheckedDevice): boolean {
  if (firmwareVersion !== update.toVersion) return false;
  return update.fromBootId === "" || bootId !== update.fromBootId;
}

function offerOf(
  update: Readonly<OpenUpdate>,
  offered: OfferFirmware | undefined,
  device: CheckedDevice,
): CheckAnswer {
  if (offered === undefined) return none("UP_TO_DATE", "the firmware of the open update is gone");
  if (offered.blocked !== undefined) return none("ROLLOUT_PAUSED", offered.blocked);
  // An install was offered when all fitted, and the device checks again. A rollback is made without a check.
  const unmet = update.action === "ROLLBACK" ? unmetPrecondition(offered.firmware, device) : undefined;
  return unmet ?? { kind: "offer", update, firmware: offered.firmware };
}

function planReport(
  update: Readonly<OpenUpdate>,
  report: UpdateReport,
  bootId: string,
  now: Date,
): UpdateChange | undefined {
  const to = stateAfterReport(update.state, report.state);
  const goesOn =
    to === update.state && report.state === to && to === "DOWNLOADING" && report.downloadedBytes > 0;
  if (to === update.state && !goesOn) return undefined;
  const takes = !update.taken && (to === "INSTALLING" || to === "REBOOTING");
  return {
    key: { deviceId: update.deviceId, id: update.id },
    rolloutId: update.rolloutId,
    from: update.state,
    to,
    downloadedBytes: report.downloadedBytes || undefined,
    // The boot in which it installs is the one that it must leave to be proven.
    fromBootId: takes && update.action === "INSTALL" ? bootId || update.fromBootId : update.fromBootId,
    installingAt: takes ? now : undefined,
    ...(to === "FAILED"
      ? {
          failureReason: storable(report.failureReason) || "UNKNOWN",
          failureMessage: storable(report.failureMessage),
          endedAt: now,
        }
      : {}),
  };
}

/** PostgreSQL's text holds no NUL. */
function storable(text: string): string {
  return text.replaceAll("\0", "");
}
