import type { Logger } from "pino";
import { notFound } from "../../errors.ts";
import { BatchLoader } from "../../infra/batch-loader.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import type { Session } from "../../infra/database/session.ts";
import { identifier, joined, prepared, sql } from "../../infra/database/sql.ts";
import { SecondChanceCache } from "../../infra/second-chance-cache.ts";
import type { CheckWriter, DeviceCheck } from "./check-writer.ts";
import type { DeviceChange, DeviceChangeListener, DeviceChanges } from "./device-changes.ts";
import { type DeviceSnapshot, isNewer, LiveDevice, SharedTexts } from "./device-snapshot.ts";
import type { UpdatePin } from "./filterable-device.ts";
import type { HeartbeatRecord } from "./heartbeat-record.ts";
import { readingsOfRow } from "./reading-row.ts";
import { heldReadings, type Readings } from "./readings.ts";
import type { StateWriter } from "./state-writer.ts";

/** What a {@link DeviceDirectory} is made of. */
export interface DeviceDirectoryParts {
  readonly database: Pick<Database, "pool">;
  readonly changes: DeviceChanges;
  readonly states: StateWriter;
  /** Without it, update checks are forgotten. */
  readonly checks?: CheckWriter;
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
   * Takes what a device says of itself when it asks for an update. What a heartbeat said a moment ago is not said again:
   * devices that keep a stream cost nothing here.
   */
  observeCheck(check: DeviceCheck): void {
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

interface DeviceStateRow {
  readonly id: string;
  readonly device_type: string;
  readonly hardware_model: string;
  readonly serial_number: string;
  readonly display_name: string;
  readonly groups: string[];
  readonly tags: string[];
  readonly metadata: Record<string, string>;
  readonly update_pin: UpdatePin;
  readonly created_at: Date;
  readonly enrolment_key_id: string | null;
  readonly is_deleted: boolean;
  readonly enrolled_version: string | null;
  readonly last_seen_at: Date | null;
  readonly epoch: number | null;
  readonly last_sequence: string | null;
  readonly firmware_version: string | null;
  readonly boot_id: string | null;
  readonly components: Record<string, string> | null;
  readonly security_counter: string | null;
}

async function readDevices(
  session: Session,
  ids: readonly string[],
  texts: SharedTexts,
  readAtSeconds: number,
): Promise<ReadonlyMap<string, LiveDevice>> {
  const rows = await session.query<DeviceStateRow>(readSql, [ids]);
  return new Map(rows.map((row) => [row.id, liveDevice(row, texts, readAtSeconds)]));
}

const held = heldReadings.map(({ column }) => sql`s.${identifier(column)}`);

const readSql = prepared(
  "device_read_devices",
  sql`
  SELECT d.id, d.serial_number, d.device_type, d.hardware_model, d.display_name, d.groups, d.tags, d.metadata, d.update_pin,
         d.created_at, d.enrolment_key_id, d.is_deleted,
         d.reported->>'firmwareVersion' AS enrolled_version,
         s.last_seen_at, s.epoch, s.last_sequence, s.firmware_version, s.boot_id, s.components, s.security_counter,
         ${joined(held, sql`, `)}
    FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
   WHERE d.id = ANY($1::uuid[])`,
);

/** Most devices have none: they share it. */
const noMetadata: Readonly<Record<string, string>> = {};

function liveDevice(row: DeviceStateRow, texts: SharedTexts, readAtSeconds: number): LiveDevice {
  const device = new LiveDevice(
    {
      id: row.id,
      serialNumber: row.serial_number,
      deviceType: texts.text(row.device_type),
      hardwareModel: texts.text(row.hardware_model),
      displayName: texts.text(row.display_name),
      groups: texts.list(row.groups),
      tags: texts.list(row.tags),
      metadata: Object.keys(row.metadata).length === 0 ? noMetadata : row.metadata,
      updatePin: row.update_pin,
      createdAtMs: row.created_at.getTime(),
      retired: row.is_deleted,
      enrolmentKeyId: row.enrolment_key_id === null ? undefined : texts.text(row.enrolment_key_id),
      enrolledVersion: texts.text(row.enrolled_version ?? ""),
    },
    readAtSeconds,
  );
  if (row.last_seen_at !== null) {
    device.take({
      epoch: row.epoch ?? 0,
      sequence: Number(row.last_sequence),
      receivedAt: row.last_seen_at,
      firmwareVersion: texts.text(row.firmware_version ?? ""),
      bootId: row.boot_id ?? "",
      ...sharedReadings(row, texts),
      components: row.components ?? undefined,
      securityCounter: Number(row.security_counter),
    });
  }
  return device;
}

/** The readings in a row, with shared texts. */
function sharedReadings(row: DeviceStateRow, texts: SharedTexts): Readings {
  const shared: Record<string, unknown> = { ...readingsOfRow(row) };
  for (const { property } of heldReadings) {
    const value = shared[property];
    if (typeof value === "string") shared[property] = texts.text(value);
  }
  return shared;
}
