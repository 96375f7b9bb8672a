import type { Logger } from "pino";
import { BatchWriter } from "../../infra/background/batch-writer.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { isDataError, withRetry } from "../../infra/database/errors.ts";
import { parameter } from "../../infra/database/parameters.ts";
import { identifier, joined, prepared, sql } from "../../infra/database/sql.ts";
import { newcomersLocked, withNewcomers } from "./newcomers.ts";
import { type CheckReadings, checkReadings, columnTypes } from "./readings.ts";

/** What a device said of itself when it asked for an update; what is undefined stays as its heartbeats had it. */
export interface DeviceCheck extends CheckReadings {
  readonly deviceId: string;
  readonly receivedAt: Date;
  readonly firmwareVersion: string;
  /** Empty if it did not say. */
  readonly bootId: string;
  readonly securityCounter: number;
  readonly components?: Readonly<Record<string, string>> | undefined;
}

/** Who notices that devices come. */
interface HeardChecks {
  prepare(heard: readonly DeviceCheck[]): Promise<void>;
  heard(heard: readonly DeviceCheck[]): void;
}

/** What a {@link CheckWriter} is made of. */
export interface CheckWriterParts {
  readonly database: Pick<Database, "pool">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly presence?: HeardChecks;
  /** How often checks are written; a second unless given. */
  readonly flushIntervalMs?: number;
}

/**
 * Writes to device_state what devices say of themselves when they ask for updates, many at a time, so that a device that
 * sends no heartbeats is shown as it is. What cannot be written is dropped: the device asks again.
 */
export class CheckWriter implements AsyncDisposable {
  readonly writer: BatchWriter<DeviceCheck>;
  readonly #parts: CheckWriterParts;

  constructor(parts: CheckWriterParts) {
    this.#parts = parts;
    this.writer = new BatchWriter({
      name: "device_checks",
      keyOf: ({ deviceId }) => deviceId,
      write: (batch) => this.#write(batch),
      maxRows: maxRowsPerStatement,
      lingerMs: parts.flushIntervalMs ?? 1_000,
      maxWaiting,
      isBadRow: isDataError,
      onOutage: "drop",
      clock: parts.clock,
      logger: parts.logger,
    });
  }

  /** Takes a check to be written. */
  add(check: DeviceCheck): void {
    this.writer.add(check);
  }

  /** Writes what waits now. */
  flush(): Promise<void> {
    return this.writer.flush();
  }

  /** Writes what waits and takes no more. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.writer.close();
  }

  async #write(batch: readonly DeviceCheck[]): Promise<void> {
    const { database, presence } = this.#parts;
    await presence?.prepare(batch);
    const values = columnsOf(batch);
    await withRetry(() => database.pool.run(writeSql, values), { attempts: 3 });
    presence?.heard(batch);
  }
}

const maxRowsPerStatement = 1_000;

/** As many devices as may come back at once after an outage. */
const maxWaiting = 100_000;

function columnsOf(batch: readonly DeviceCheck[]): unknown[][] {
  const column = (value: (check: DeviceCheck) => unknown): unknown[] =>
    batch.map((check) => value(check) ?? null);
  return [
    column((c) => c.deviceId),
    column((c) => c.receivedAt),
    column((c) => c.firmwareVersion),
    column((c) => c.bootId),
    column((c) => c.securityCounter),
    column((c) => c.components && JSON.stringify(c.components)),
    ...checkReadings.map(({ property }) => column((c) => c[property])),
  ];
}

const columns = checkReadings.map(({ column }) => identifier(column));

const arrays = checkReadings.map(({ kind }, index) => parameter(index + 7, `${columnTypes[kind]}[]`));

const changes = columns.map((name) => sql`${name} = coalesce(excluded.${name}, s.${name})`);

/**
 * A check has no number: epoch and sequence 0 come before every heartbeat, and it never moves a device's mark. A time that is
 * still to come was written before the clock was set back, and is older than any.
 */
const writeSql = prepared(
  "device_write_checks",
  sql`
  ${withNewcomers(sql`device_state`)}
  INSERT INTO device_state AS s (device_id, last_seen_at, firmware_version, boot_id, security_counter, components,
    ${joined(columns, sql`, `)}, epoch, last_sequence, uptime_ms)
  SELECT c.*, 0, 0, 0
    FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::bigint[], $6::jsonb[],
                ${joined(arrays, sql`, `)}) AS c
   WHERE ${newcomersLocked}
  ON CONFLICT (device_id) DO UPDATE SET
    last_seen_at = excluded.last_seen_at,
    firmware_version = excluded.firmware_version,
    boot_id = coalesce(nullif(excluded.boot_id, ''), s.boot_id),
    security_counter = greatest(s.security_counter, excluded.security_counter),
    components = coalesce(excluded.components, s.components),
    ${joined(changes, sql`, `)},
    updated_at = now()
   WHERE s.last_seen_at < excluded.last_seen_at OR s.last_seen_at > now() + interval '5 seconds'`,
);
