import type { Logger } from "pino";
import { BatchWriter } from "../../infra/background/batch-writer.ts";
import type { Clock } from "../../infra/clock.ts";
import { compiled } from "../../infra/compiled.ts";
import type { Database } from "../../infra/database/database.ts";
import { isDataError, withRetry } from "../../infra/database/errors.ts";
import { type ColumnType, parameter } from "../../infra/database/parameters.ts";
import type { Session } from "../../infra/database/session.ts";
import { identifier, joined, prepared, type Sql, sql } from "../../infra/database/sql.ts";
import { clockVerdictOf } from "./clock-verdict.ts";
import { isNewer } from "./device-snapshot.ts";
import type { HeartbeatRecord } from "./heartbeat-record.ts";
import { newcomersLocked, withNewcomers } from "./newcomers.ts";
import { columnTypes, readings } from "./readings.ts";

/** What a {@link StateWriter} is made of. */
export interface StateWriterParts {
  readonly database: Pick<Database, "pool">;
  readonly clock: Clock;
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
  readonly writer: BatchWriter<HeartbeatRecord>;
  readonly #pool: Session;
  readonly #presence: HeardDevices | undefined;

  constructor(parts: StateWriterParts) {
    this.#pool = parts.database.pool;
    this.#presence = parts.presence;
    this.writer = new BatchWriter({
      name: "device_states",
      keyOf: ({ deviceId }) => deviceId,
      merge: (newer, older) => (isNewer(newer, older) ? withKeptOf(newer, older) : older),
      write: (batch) => this.#write(batch),
      maxRows: maxRowsPerStatement,
      lingerMs: parts.flushIntervalMs ?? 1_000,
      // Past the limit the stored state lags behind for devices that were not waiting yet, until their next heartbeat.
      maxWaiting: parts.maxWaiting ?? 1_000_000,
      isBadRow: isDataError,
      onOutage: "keep",
      clock: parts.clock,
      logger: parts.logger,
    });
  }

  /** Takes a reading to be written, unless a newer one of the device waits already. */
  add(record: HeartbeatRecord): void {
    this.writer.add(record);
  }

  /** The newest reading of a device that the database may not show yet. */
  unwritten(deviceId: string): HeartbeatRecord | undefined {
    return this.writer.unwritten(deviceId);
  }

  /** How many devices' readings wait. */
  get size(): number {
    return this.writer.size;
  }

  /** Writes what waits now. Resolves also if that fails: it is then tried again. */
  flush(): Promise<void> {
    return this.writer.flush();
  }

  /** Writes what waits, once, and takes no more. */
  close(): Promise<void> {
    return this.writer.close();
  }

  async #write(batch: readonly HeartbeatRecord[]): Promise<void> {
    await this.#presence?.prepare(batch);
    const values = columnsOf(batch);
    await withRetry(() => this.#pool.run(writeStatesSql, values), { attempts: 3 });
    this.#presence?.heard(batch);
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
  readonly type: ColumnType;
  readonly value: (record: HeartbeatRecord) => unknown;
}

const columns: readonly Column[] = [
  { name: "device_id", type: "uuid", value: (r) => r.deviceId },
  { name: "last_seen_at", type: "timestamptz", value: (r) => r.receivedAt },
  { name: "last_device_time", type: "timestamptz", value: (r) => r.deviceTime },
  { name: "clock_offset_ms", type: "bigint", value: (r) => r.clockOffsetMs },
  {
    name: "clock_verdict",
    type: "text",
    value: (r) => clockVerdictOf(r.receivedAt.getTime(), r.clockOffsetMs),
  },
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

const names = columns.map((column) => identifier(column.name));

/** What a conflict keeps of the stored row: a security counter never goes down, and components stay until named anew. */
function newValue(name: string): Sql {
  if (name === "security_counter")
    return sql`greatest(device_state.security_counter, excluded.security_counter)`;
  return name === "components"
    ? sql`coalesce(excluded.components, device_state.components)`
    : sql`excluded.${identifier(name)}`;
}

const arrays = columns.map(({ type }, index) => parameter(index + 1, `${type}[]`));

const changes = columns.slice(1).map(({ name }) => sql`${identifier(name)} = ${newValue(name)}`);

/** Forward only: what another replica wrote of a later heartbeat stays. */
const writeStatesSql = prepared(
  "device_write_states",
  sql`
  ${withNewcomers(sql`device_state`)}
  INSERT INTO device_state (${joined(names, sql`, `)})
  SELECT r.* FROM unnest(${joined(arrays, sql`, `)}) AS r
   WHERE ${newcomersLocked}
  ON CONFLICT (device_id) DO UPDATE
     SET ${joined(changes, sql`, `)}, updated_at = now()
   WHERE (device_state.epoch, device_state.last_sequence) < (excluded.epoch, excluded.last_sequence)`,
);

function columnsOf(batch: readonly HeartbeatRecord[]): unknown[][] {
  return columns.map((column) => batch.map((record) => column.value(record) ?? null));
}
