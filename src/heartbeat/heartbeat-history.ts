import type pg from "pg";
import type { ListPosition } from "../access/list-position.ts";
import type { DeviceError, HeartbeatRecord } from "../device/heartbeat-record.ts";
import { type ReadingRow, readingOf } from "../device/reading-row.ts";
import { asDatabaseError } from "../infra/database/errors.ts";

/** Which of a device's heartbeats to list. */
export interface HistoryFilter {
  readonly deviceId: string;
  /** Received at this time or later. */
  readonly from?: Date | undefined;
  /** Received before this time. */
  readonly to?: Date | undefined;
}

/** Reads stored heartbeats. */
export class HeartbeatHistory {
  readonly #pool: pg.Pool;

  constructor(pool: pg.Pool) {
    this.#pool = pool;
  }

  /**
   * A device's heartbeats, newest received first, by keyset: each page is a range of the primary key, and only the days
   * that it reaches into are read. `after` is {@link historyKey} of the last one of the page before.
   */
  async list(filter: HistoryFilter, { limit, after }: ListPosition): Promise<HeartbeatRecord[]> {
    const values: unknown[] = [filter.deviceId, limit];
    const conditions = ["device_id = $1"];
    if (filter.from !== undefined)
      conditions.push(`received_at >= $${values.push(filter.from.toISOString())}`);
    if (filter.to !== undefined) conditions.push(`received_at < $${values.push(filter.to.toISOString())}`);
    if (after !== undefined) {
      const [receivedAt, sequence] = after.split(" ");
      const time = values.push(receivedAt);
      conditions.push(
        `received_at <= $${time}`,
        `(received_at, sequence) < ($${time}, $${values.push(sequence)})`,
      );
    }
    try {
      const { rows } = await this.#pool.query<HistoryRow>(
        `SELECT * FROM device_heartbeats WHERE ${conditions.join(" AND ")}
         ORDER BY received_at DESC, sequence DESC LIMIT $2`,
        values,
      );
      return rows.map(recordOfRow);
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }
}

/** Where a heartbeat stands in its device's list. */
export function historyKey({ receivedAt, sequence }: HeartbeatRecord): string {
  return `${receivedAt.toISOString()} ${sequence}`;
}

/** A row as pg parses it: bigint comes as text. */
interface HistoryRow extends ReadingRow {
  readonly device_id: string;
  readonly received_at: Date;
  readonly sequence: string;
  readonly device_time: Date | null;
  readonly security_counter: string;
  readonly errors: DeviceError[] | null;
  readonly metrics: Record<string, number> | null;
}

function recordOfRow(row: HistoryRow): HeartbeatRecord {
  return {
    deviceId: row.device_id,
    ...readingOf(row),
    sequence: Number(row.sequence),
    receivedAt: row.received_at,
    deviceTime: row.device_time ?? undefined,
    securityCounter: Number(row.security_counter),
    errors: row.errors ?? [],
    metrics: row.metrics ?? undefined,
  };
}
