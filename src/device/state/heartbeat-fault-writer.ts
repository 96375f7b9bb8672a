import type { Logger } from "pino";
import { BatchWriter } from "../../infra/background/batch-writer.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { isDataError, withRetry } from "../../infra/database/errors.ts";
import { prepared, sql } from "../../infra/database/sql.ts";

/** What is wrong with a heartbeat: a reading was left out of it, it was refused, or it had been stored before. */
export type HeartbeatFaultKind = "left_out" | "refused" | "repeated";

/** What is wrong with some of a device's heartbeats, and the newest of them. */
export interface HeartbeatFault {
  readonly deviceId: string;
  readonly kind: HeartbeatFaultKind;
  /** The contract's field, without places and names; empty if none is to blame. */
  readonly field: string;
  /** How many. */
  readonly count: number;
  readonly sequence: bigint;
  /** What the device sent, as text. */
  readonly value: string;
  readonly description: string;
  /** When the newest was received. */
  readonly noticedAt: Date;
}

/**
 * Keeps what is wrong with devices' heartbeats, so that operators see which devices are not heard as they mean to be. One row
 * for each kind and field, written many at a time. What cannot be written is dropped: a device that has trouble goes on having it.
 */
export class HeartbeatFaultWriter implements AsyncDisposable {
  readonly #database: Pick<Database, "pool">;
  readonly writer: BatchWriter<HeartbeatFault>;

  constructor({ database, clock, logger }: HeartbeatFaultWriterParts) {
    this.#database = database;
    this.writer = new BatchWriter({
      name: "heartbeat_faults",
      keyOf: ({ deviceId, kind, field }) => `${deviceId} ${kind} ${field}`,
      merge: (newer, older) => ({ ...newer, count: newer.count + older.count }),
      write: (batch) => this.#write(batch),
      maxRows: maxRowsPerStatement,
      lingerMs: flushIntervalMs,
      maxWaiting,
      isBadRow: isDataError,
      onOutage: "drop",
      clock,
      logger,
    });
  }

  /** Takes what was noticed. */
  add(fault: HeartbeatFault): void {
    this.writer.add(fault);
  }

  /** What is wrong with the heartbeats of devices, by their ids, of each newest first; up to a few seconds old. */
  async of(deviceIds: readonly string[]): Promise<ReadonlyMap<string, readonly HeartbeatFault[]>> {
    const rows = await this.#database.pool.query<FaultRow>(readSql, [deviceIds]);
    const faults = rows.map(
      ({ device_id: deviceId, count, sequence, noticed_at: noticedAt, ...row }): HeartbeatFault => ({
        ...row,
        deviceId,
        count: Number(count),
        sequence: BigInt(sequence),
        noticedAt,
      }),
    );
    return Map.groupBy(faults, ({ deviceId }) => deviceId);
  }

  /** Writes what waits and takes no more. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.writer.close();
  }

  async #write(batch: readonly HeartbeatFault[]): Promise<void> {
    const values = [
      batch.map(({ deviceId }) => deviceId),
      batch.map(({ kind }) => kind),
      batch.map(({ field }) => field),
      batch.map(({ count }) => count),
      batch.map(({ sequence }) => sequence.toString()),
      batch.map(({ value }) => value),
      batch.map(({ description }) => description),
      batch.map(({ noticedAt }) => noticedAt),
    ];
    await withRetry(() => this.#database.pool.run(writeSql, values), { attempts: 3 });
  }
}

/** What {@link HeartbeatFaultWriter} is made of. */
export interface HeartbeatFaultWriterParts {
  readonly database: Pick<Database, "pool">;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface FaultRow {
  readonly device_id: string;
  readonly kind: HeartbeatFaultKind;
  readonly field: string;
  readonly count: string;
  readonly sequence: string;
  readonly value: string;
  readonly description: string;
  readonly noticed_at: Date;
}

const maxRowsPerStatement = 1_000;

const flushIntervalMs = 1_000;

/** As many as a fleet that comes back with repeats may have. */
const maxWaiting = 100_000;

const writeSql = prepared(
  "heartbeat_faults_write",
  sql`
  INSERT INTO heartbeat_faults AS f (device_id, kind, field, count, sequence, value, description, noticed_at)
  SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::numeric[], $6::text[], $7::text[], $8::timestamptz[])
    AS t (device_id, kind, field, count, sequence, value, description, noticed_at) ORDER BY device_id, kind, field
  ON CONFLICT (device_id, kind, field) DO UPDATE SET count = f.count + excluded.count, sequence = excluded.sequence,
    value = excluded.value, description = excluded.description, noticed_at = excluded.noticed_at`,
);

const readSql = prepared(
  "heartbeat_faults_read",
  sql`
  SELECT device_id, kind, field, count, sequence::text AS sequence, value, description, noticed_at
    FROM heartbeat_faults WHERE device_id = ANY($1::uuid[]) ORDER BY noticed_at DESC, kind, field`,
);
