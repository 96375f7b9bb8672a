import type { Pool } from "pg";
import type { Logger } from "pino";
import { compiled } from "../../infra/compiled.ts";
import type { Database } from "../../infra/database/database.ts";
import { asDatabaseError, withRetry } from "../../infra/database/errors.ts";
import { isNewer } from "./device-snapshot.ts";
import type { HeartbeatRecord } from "./heartbeat-record.ts";
import { newcomersLocked, withNewcomers } from "./newcomers.ts";
import { columnTypes, readings } from "./readings.ts";

/** What a {@link StateWriter} is made of. */
export interface StateWriterParts {
  readonly database: Pick<Database, "adminPool">;
  readonly logger: Logger;
  /** How often readings are written; a second unless given. */
  readonly flushIntervalMs?: number;
  /** The most devices whose readings may wait; 1,000,000 unless given. */
  readonly maxWaiting?: number;
  /** Is told which devices were heard. */
  readonly presence?: HeardDevices;
}

/** Who notices that devices come. */
export interface HeardDevices {
  /** Before these are written. What it rejects with counts as a failed write, which is tried again. */
  prepare(heard: readonly HeartbeatRecord[]): Promise<void>;
  /** Once they are written. */
  heard(heard: readonly HeartbeatRecord[]): void;
}

/**
 * Writes the newest reading of each device to device_state, many devices at a time, about once a second: a device that
 * sends ten heartbeats in that second costs one row. While the database is away the newest reading of each device waits;
 * nothing is lost by a crash either, for the heartbeats themselves are stored before they come here.
 */
export class StateWriter {
  readonly #pool: Pool;
  readonly #logger: Logger;
  readonly #flushIntervalMs: number;
  readonly #maxWaiting: number;
  readonly #presence: HeardDevices | undefined;
  #waiting = new Map<string, HeartbeatRecord>();
  /** What is being written now. */
  #writing = new Map<string, HeartbeatRecord>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  #failing = false;
  #closed = false;

  constructor(parts: StateWriterParts) {
    this.#pool = parts.database.adminPool;
    this.#logger = parts.logger;
    this.#flushIntervalMs = parts.flushIntervalMs ?? 1_000;
    this.#maxWaiting = parts.maxWaiting ?? 1_000_000;
    this.#presence = parts.presence;
  }

  /** Takes a reading to be written, unless a newer one of the device waits already. */
  add(record: HeartbeatRecord): void {
    const waiting = this.#waiting.get(record.deviceId);
    if (waiting === undefined) {
      // Past the limit the stored state lags behind for devices that were not waiting yet, until their next heartbeat.
      if (this.#waiting.size >= this.#maxWaiting || this.#closed) return;
    } else if (!isNewer(record, waiting)) {
      return;
    }
    this.#waiting.set(record.deviceId, waiting === undefined ? record : withKeptOf(record, waiting));
    if (this.#timer === undefined) this.#schedule();
  }

  /** The newest reading of a device that the database may not show yet. */
  unwritten(deviceId: string): HeartbeatRecord | undefined {
    return this.#waiting.get(deviceId) ?? this.#writing.get(deviceId);
  }

  /** How many devices' readings wait. */
  get size(): number {
    return this.#waiting.size + this.#writing.size;
  }

  /** Writes what waits now. Resolves also if that fails: it is then tried again. */
  async flush(): Promise<void> {
    // What waits now may have come after the write that is under way had begun.
    await this.#flushing;
    this.#flushing ??= this.#write().finally(() => {
      this.#flushing = undefined;
    });
    await this.#flushing;
  }

  /** Writes what waits, once, and takes no more. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.flush();
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    this.#timer = setTimeout(() => void this.flush(), this.#flushIntervalMs);
    this.#timer.unref();
  }

  async #write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#waiting;
    this.#waiting = new Map();
    // In the order of their ids: two replicas that write the same devices then wait for each other, but never in a circle.
    const records = [...this.#writing.values()].sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1));
    try {
      for (let start = 0; start < records.length; start += maxRowsPerStatement) {
        const batch = records.slice(start, start + maxRowsPerStatement);
        await this.#presence?.prepare(batch);
        await this.#writeBatch(batch);
        this.#presence?.heard(batch);
        for (const record of batch) this.#writing.delete(record.deviceId);
      }
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) this.#logger.warn({ err: error }, "device states wait for the database");
      this.#failing = true;
      for (const [deviceId, record] of this.#writing) {
        const newer = this.#waiting.get(deviceId);
        this.#waiting.set(deviceId, newer === undefined ? record : withKeptOf(newer, record));
      }
    }
    this.#writing.clear();
    if (this.#waiting.size > 0 && this.#timer === undefined && !this.#closed) this.#schedule();
  }

  /** A batch that the database refuses for what is in it is halved until the bad row stands alone, and that is dropped. */
  async #writeBatch(batch: readonly HeartbeatRecord[]): Promise<void> {
    try {
      const write = { name: "device_write_states", text: writeStates, values: columnsOf(batch) };
      await withRetry(() => this.#pool.query(write), { attempts: 3 });
    } catch (error) {
      if (asDatabaseError(error) !== undefined || isServerSide(error)) throw error;
      const [record] = batch;
      if (batch.length === 1 && record !== undefined) {
        this.#logger.error(
          { err: error, deviceId: record.deviceId },
          "dropped a device state that cannot be stored",
        );
        return;
      }
      const middle = Math.ceil(batch.length / 2);
      await this.#writeBatch(batch.slice(0, middle));
      await this.#writeBatch(batch.slice(middle));
    }
  }
}

/**
 * The newer heartbeat with the higher security counter of the two and, unless it names components itself, with those of
 * the older one: what a device once reported must not be forgotten.
 */
function withKeptOf(newer: HeartbeatRecord, older: HeartbeatRecord): HeartbeatRecord {
  const { components = older.components, securityCounter } = newer;
  if (securityCounter >= older.securityCounter && components === newer.components) return newer;
  return { ...newer, components, securityCounter: Math.max(securityCounter, older.securityCounter) };
}

/** Some 50 ms of work for the server: the connection is not held for longer. */
const maxRowsPerStatement = 2_000;

interface Column {
  readonly name: string;
  readonly type: string;
  readonly value: (record: HeartbeatRecord) => unknown;
}

const columns: readonly Column[] = [
  { name: "device_id", type: "uuid", value: (r) => r.deviceId },
  { name: "last_seen_at", type: "timestamptz", value: (r) => r.receivedAt },
  { name: "last_device_time", type: "timestamptz", value: (r) => r.deviceTime },
  { name: "epoch", type: "int", value: (r) => r.epoch },
  { name: "last_sequence", type: "bigint", value: (r) => r.sequence },
  { name: "firmware_version", type: "text", value: (r) => r.firmwareVersion },
  { name: "boot_id", type: "text", value: (r) => r.bootId },
  { name: "uptime_ms", type: "bigint", value: (r) => r.uptimeMs },
  ...readings.map(({ column, kind, property }) => ({
    name: column,
    type: columnTypes[kind],
    value: compiled<Column["value"]>(`(r) => r.${property}`),
  })),
  { name: "security_counter", type: "bigint", value: (r) => r.securityCounter },
  { name: "image_sha256", type: "bytea", value: (r) => r.imageSha256 },
  { name: "components", type: "jsonb", value: (r) => r.components && JSON.stringify(r.components) },
];

const names = columns.map((column) => column.name);

/** What a conflict keeps of the stored row: a security counter never goes down, and components stay until named anew. */
function newValue(name: string): string {
  if (name === "security_counter")
    return "greatest(device_state.security_counter, excluded.security_counter)";
  return name === "components"
    ? "coalesce(excluded.components, device_state.components)"
    : `excluded.${name}`;
}

/** Forward only: what another replica wrote of a later heartbeat stays. */
const writeStates = `
  ${withNewcomers("device_state")}
  INSERT INTO device_state (${names.join(", ")})
  SELECT r.* FROM unnest(${columns.map((column, index) => `$${index + 1}::${column.type}[]`).join(", ")}) AS r
   WHERE ${newcomersLocked}
  ON CONFLICT (device_id) DO UPDATE
     SET ${names
       .slice(1)
       .map((name) => `${name} = ${newValue(name)}`)
       .join(", ")}, updated_at = now()
   WHERE (device_state.epoch, device_state.last_sequence) < (excluded.epoch, excluded.last_sequence)`;

function columnsOf(batch: readonly HeartbeatRecord[]): unknown[][] {
  return columns.map((column) => batch.map((record) => column.value(record) ?? null));
}

/** Whether the server failed for its own reasons (classes 40, 53 to 58, XX) and not for what it was given. */
function isServerSide(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code !== "string" || /^(?:40|5[3-8]|XX)/.test(code);
}
