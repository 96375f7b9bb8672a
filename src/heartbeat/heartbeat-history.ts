import type { ListPosition } from "../call/list-page.ts";
import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import { type ReadingRow, readingOf } from "../device/state/reading-row.ts";
import { networkTypes } from "../device/state/readings.ts";
import { type StoredErrorReport, storedError } from "../device/state/stored-error.ts";
import type { Clock } from "../infra/clock.ts";
import { asDatabaseError } from "../infra/database/errors.ts";
import { Parameters } from "../infra/database/parameters.ts";
import type { ReadSession } from "../infra/database/session.ts";
import { allOf, identifier, joined, type Sql, sql, words } from "../infra/database/sql.ts";
import { columnsFor, type HeartbeatField, heartbeatFields } from "./heartbeat-fields.ts";

/** Which of a device's heartbeats to list. */
export interface HistoryFilter {
  readonly deviceId: string;
  /** Received at this time or later. */
  readonly from?: Date | undefined;
  /** Received before this time. */
  readonly to?: Date | undefined;
  /** Only what these fields hold is read of each; by default all. What places it in the list comes always. */
  readonly fields?: readonly HeartbeatField[] | undefined;
}

/** Reads stored heartbeats. */
export class HeartbeatHistory {
  readonly #session: ReadSession;
  readonly #clock: Clock;

  constructor(session: ReadSession, clock: Clock) {
    this.#session = session;
    this.#clock = clock;
  }

  /**
   * A device's heartbeats, newest received first, by keyset: each page is a range of the primary key, and only the days
   * that it reaches into are read. `after` is {@link historyKey} of the last one of the page before.
   *
   * The last day before the page's begin is asked first, which holds all of the page of a device that is alive. To plan a
   * statement over all days costs the database ten times what such a page costs to read: 1.4 ms with a month of them. What
   * lies before, and pages of more than {@link maxQuickRows}, are read by `costly`.
   */
  async list(
    filter: HistoryFilter,
    position: ListPosition,
    costly: ReadSession = this.#session,
  ): Promise<HeartbeatRecord[]> {
    const quick = position.limit > maxQuickRows ? costly : this.#session;
    const end = position.after?.split(" ")[0] ?? filter.to ?? this.#clock.now();
    const recent = new Date(new Date(end).getTime() - recentMs);
    if (filter.from !== undefined && filter.from >= recent) return await this.#page(quick, filter, position);
    const newest = await this.#page(quick, { ...filter, from: recent }, position);
    const limit = position.limit - newest.length;
    if (limit <= 0) return newest;
    return newest.concat(await this.#page(costly, { ...filter, to: recent }, { ...position, limit }));
  }

  async #page(
    session: ReadSession,
    filter: HistoryFilter,
    { limit, after }: ListPosition,
  ): Promise<HeartbeatRecord[]> {
    const parameters = new Parameters();
    const conditions = [sql`device_id = ${parameters.add(filter.deviceId, "uuid")}`];
    if (filter.from !== undefined)
      conditions.push(sql`received_at >= ${parameters.add(filter.from.toISOString(), "timestamptz")}`);
    if (filter.to !== undefined)
      conditions.push(sql`received_at < ${parameters.add(filter.to.toISOString(), "timestamptz")}`);
    if (after !== undefined) {
      const [receivedAt, sequence] = after.split(" ");
      const time = parameters.add(receivedAt, "timestamptz");
      conditions.push(
        sql`received_at <= ${time}`,
        sql`(received_at, sequence) < (${time}, ${parameters.add(sequence, "bigint")})`,
      );
    }
    try {
      const rows = await session.query<HistoryRow>(
        sql`SELECT ${selectionOf(filter)} FROM device_heartbeats WHERE ${allOf(conditions)}
            ORDER BY received_at DESC, sequence DESC LIMIT ${parameters.add(limit, "int")}`,
        parameters.values,
      );
      return rows.map((row) => recordOfRow({ ...nothingRead, ...row }));
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }

  /**
   * All of a device's heartbeats, oldest received first, some at a time: each part is a query of its own, made when it is
   * asked for, so a slow reader holds neither memory nor a transaction.
   */
  async *scan(filter: HistoryFilter & { readonly to: Date }): AsyncGenerator<HeartbeatRecord[]> {
    let from = filter.from?.toISOString() ?? "-infinity";
    let sequence = 0;
    for (;;) {
      const records = await this.#part(filter, from, sequence);
      if (records.length > 0) yield records;
      const last = records.at(-1);
      if (last === undefined || records.length < rowsEach) return;
      from = last.receivedAt.toISOString();
      sequence = last.sequence + 1;
    }
  }

  async #part(
    filter: HistoryFilter & { readonly to: Date },
    from: string,
    sequence: number,
  ): Promise<HeartbeatRecord[]> {
    try {
      const rows = await this.#session.query<HistoryRow>(
        sql`SELECT ${selectionOf(filter)} FROM device_heartbeats
         WHERE device_id = $1 AND received_at >= $2 AND (received_at, sequence) >= ($2, $3) AND received_at < $4
         ORDER BY received_at, sequence LIMIT $5`,
        [filter.deviceId, from, sequence, filter.to.toISOString(), rowsEach],
      );
      return rows.map((row) => recordOfRow({ ...nothingRead, ...row }));
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }
}

/** With all that heartbeats may hold, these are some ten megabytes; one more than the default of a page. */
const maxQuickRows = 51;

/** What a page is looked for in first. */
const recentMs = 24 * 60 * 60_000;

/** Rows of one part of a scan: some hundred kilobytes, unless all of them have long stacks. */
const rowsEach = 500;

function selectionOf({ fields }: HistoryFilter): Sql {
  const columns = columnsFor(fields ?? heartbeatFields);
  return joined(
    columns.map((column) => (column === "network" ? networkSql : identifier(column))),
    sql`, `,
  );
}

/** Heartbeats from before migration 0013 have the number of the contract in a column of its own, for as long as they are kept. */
const networkSql = sql`coalesce(network, (ARRAY[${words(networkTypes)}])[network_type]) AS network`;

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
  readonly errors: StoredErrorReport[] | null;
  readonly metrics: Record<string, number> | null;
}

/** What stands in a row for a column that was not read. */
const nothingRead = {
  device_time: null,
  firmware_version: "",
  boot_id: "",
  uptime_ms: "0",
  security_counter: "0",
  image_sha256: null,
  errors: null,
  metrics: null,
  components: null,
};

function recordOfRow(row: HistoryRow): HeartbeatRecord {
  return {
    deviceId: row.device_id,
    ...readingOf(row),
    sequence: Number(row.sequence),
    receivedAt: row.received_at,
    deviceTime: row.device_time ?? undefined,
    securityCounter: Number(row.security_counter),
    errors: row.errors?.map(storedError) ?? [],
    metrics: row.metrics ?? undefined,
  };
}
