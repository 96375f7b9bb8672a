import type { Logger } from "pino";
import { notFound } from "../../errors.ts";
import { BatchLoader } from "../../infra/batch-loader.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import type { Session } from "../../infra/database/session.ts";
import { SecondChanceCache } from "../../infra/second-chance-cache.ts";
import type { BootObserver } from "./boot-sighting.ts";
import type { CheckWriter, DeviceCheck } from "./check-writer.ts";
import type { DeviceChange, DeviceChangeListener, DeviceChanges } from "./device-changes.ts";
import { type DeviceSnapshot, isNewer, type LiveDevice, SharedTexts } from "./device-snapshot.ts";
import type { HeartbeatRecord } from "./heartbeat-record.ts";
import { readDevices } from "./live-device-rows.ts";
import type { StateWriter } from "./state-writer.ts";

/** What a {@link DeviceDirectory} is made of. */
export interface DeviceDirectoryParts {
  readonly database: Pick<Database, "pool">;
  readonly changes: DeviceChanges;
  readonly states: StateWriter;
  /** Without it, update checks are forgotten. */
  readonly checks?: CheckWriter;
  /** Is told under which boots devices ask for updates. */
  readonly boots?: BootObserver;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The most devices to remember, at some 600 bytes each; 300,000 unless given. */
  readonly maxDevices?: number;
}

/**
 * The devices that this replica deals with, in memory: what they are and what their newest heartbeat said. Decisions on
 * the hot path are taken from it without a promise; a device that is not in it is read, many at a time. What heartbeats
 * bring reaches device_state through the {@link StateWriter}.
 */
export class DeviceDirectory implements DeviceChangeListener {
  readonly #pool: Session;
  readonly #changes: DeviceChanges;
  readonly #states: StateWriter;
  readonly #checks: CheckWriter | undefined;
  readonly #boots: BootObserver | undefined;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #texts = new SharedTexts();
  readonly #devices: SecondChanceCache<LiveDevice>;
  readonly #loader: BatchLoader<LiveDevice>;
  /** The newest heartbeat of devices whose read is under way: the read may not have seen it. */
  readonly #duringLoad = new Map<string, HeartbeatRecord>();
  readonly #unsubscribe: () => void;
  /** What was read before this monotonic second is read again when it is next asked for. */
  #trustedSinceSeconds = Number.NEGATIVE_INFINITY;

  constructor(parts: DeviceDirectoryParts) {
    this.#pool = parts.database.pool;
    this.#changes = parts.changes;
    this.#states = parts.states;
    this.#checks = parts.checks;
    this.#boots = parts.boots;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#devices = new SecondChanceCache(parts.maxDevices ?? 300_000);
    this.#loader = new BatchLoader({
      load: (ids) => readDevices(this.#pool, ids, this.#texts, this.#nowSeconds()),
      settled: (id, device) => this.#remember(id, device),
      maxBatch: 2_000,
      maxPending: maxPendingReads,
    });
    this.#unsubscribe = parts.changes.subscribe(this);
  }

  /**
   * The device, at once if it is remembered. Retired devices are returned too. Rejects with `NOT_FOUND`, or with
   * `DATABASE_UNAVAILABLE` if it must be read and cannot be.
   */
  get(deviceId: string, signal?: AbortSignal): DeviceSnapshot | Promise<DeviceSnapshot> {
    const device = this.#devices.get(deviceId);
    if (device === undefined) return this.#read(deviceId, signal);
    const nowSeconds = this.#nowSeconds();
    if (
      device.readAtSeconds < this.#trustedSinceSeconds ||
      nowSeconds - device.readAtSeconds > maxAgeSeconds
    ) {
      // Marked as read, so that the calls until then do not ask again.
      device.readAtSeconds = Math.max(nowSeconds, this.#trustedSinceSeconds);
      this.#read(deviceId, undefined).catch((error: unknown) => {
        this.#logger.debug({ err: error, deviceId }, "could not refresh a device");
      });
    }
    return device;
  }

  /** The device if it is remembered. It does not count as a use. */
  peek(deviceId: string): DeviceSnapshot | undefined {
    return this.#devices.peek(deviceId);
  }

  /** Takes heartbeats that are stored durably. Older ones than what is known of a device change nothing. */
  observe(records: readonly HeartbeatRecord[]): void {
    for (const record of records) {
      this.#states.add(record);
      const device = this.#devices.get(record.deviceId);
      if (device !== undefined) device.take(record);
      else if (this.#loader.isLoading(record.deviceId)) this.#keepDuringLoad(record);
    }
  }

  /**
   * Takes what a device says of itself when it asks for an update. What a heartbeat said a moment ago is not written again; under
   * which boot the device asks is told all the same, since a copy of it asks beside its stream.
   */
  observeCheck(check: DeviceCheck): void {
    this.#boots?.sighted({
      deviceId: check.deviceId,
      bootId: check.bootId,
      atMs: check.receivedAt.getTime(),
      startedAtMs: undefined,
      beginsStream: false,
    });
    const device = this.#devices.peek(check.deviceId);
    if (device === undefined || this.#checks === undefined) return;
    const { firmwareVersion, bootId, lastSeenAtMs } = device;
    const isKnown =
      lastSeenAtMs !== undefined &&
      check.receivedAt.getTime() - lastSeenAtMs < repeatedCheckMs &&
      firmwareVersion === check.firmwareVersion &&
      (check.bootId === "" || bootId === check.bootId);
    if (isKnown) return;
    device.takeCheck(check);
    this.#checks.add(check);
  }

  /** Says that a device's record changed in the database: it is read again here and on the other replicas. */
  reload(deviceId: string): void {
    this.#changes.publish({ deviceId, kind: "updated" });
  }

  deviceChanged(change: DeviceChange): void {
    this.#devices.delete(change.deviceId);
    this.#loader.changed(change.deviceId);
    // What the board said must be written before another one may enrol in its place, or it would be taken for what that says.
    if (change.kind === "credentials_revoked") void this.#states.flush();
  }

  changesMissed(): void {
    // A second later than now, because ages are kept in whole seconds.
    this.#trustedSinceSeconds = this.#nowSeconds() + 1;
  }

  /** How many devices are remembered. */
  get size(): number {
    return this.#devices.size;
  }

  /** Writes the readings that wait and stops listening for changes. */
  async close(): Promise<void> {
    this.#unsubscribe();
    await this.#states.close();
  }

  async #read(deviceId: string, signal: AbortSignal | undefined): Promise<DeviceSnapshot> {
    const loading = this.#loader.get(deviceId, signal);
    // The read may not see what is written while it is under way.
    const unwritten = this.#states.unwritten(deviceId);
    if (unwritten !== undefined && this.#loader.isLoading(deviceId)) this.#keepDuringLoad(unwritten);
    let loaded: LiveDevice | undefined;
    try {
      loaded = await loading;
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
    if (loaded === undefined) throw notFound("device", deviceId);
    return loaded;
  }

  #remember(deviceId: string, loaded: LiveDevice | undefined): void {
    const observed = this.#duringLoad.get(deviceId);
    this.#duringLoad.delete(deviceId);
    if (loaded === undefined) return;
    const known = this.#devices.peek(deviceId);
    if (known !== undefined) loaded.takeReadingsOf(known);
    if (observed !== undefined) loaded.take(observed);
    this.#devices.set(deviceId, loaded);
  }

  #keepDuringLoad(record: HeartbeatRecord): void {
    const kept = this.#duringLoad.get(record.deviceId);
    if (kept === undefined || isNewer(record, kept)) this.#duringLoad.set(record.deviceId, record);
  }

  #nowSeconds(): number {
    return Math.floor(this.#clock.monotonicMs() / 1_000);
  }
}

/**
 * A device that was read longer ago is read again in the background when it is next asked for. Bounds how long a lost
 * notice, or heartbeats that went to another replica, can go unnoticed; costs an active device one row in this time.
 */
const maxAgeSeconds = 300;

/** A check soon after the last sign of life that says the same is not written. */
const repeatedCheckMs = 30_000;

/** As many devices as may come back at once after an outage. */
const maxPendingReads = 50_000;
