import type { Pool } from "pg";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { lateIntervals, onlineIntervals } from "./presence.ts";

/** A number of devices that share something. */
export interface CountByName {
  readonly name: string;
  readonly count: number;
}

/** The fleet at a glance, without retired devices. */
export interface FleetStatus {
  readonly total: number;
  readonly online: number;
  readonly late: number;
  readonly offline: number;
  /** Never sent a heartbeat. */
  readonly unknown: number;
  /** Most first, at most 100. */
  readonly firmwareVersions: readonly CountByName[];
  /** Most first, at most 100. */
  readonly deviceTypes: readonly CountByName[];
  readonly updating: number;
  /** Devices with a heartbeat stream open to this replica. */
  readonly streaming: number;
  readonly countedAt: Date;
}

/** Who knows the updates that devices are taking now. */
export interface OpenUpdates {
  /** The open update's id by device id, of those of these devices that have one. */
  openUpdateIds(deviceIds: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** How many updates are open. */
  openUpdateCount(): Promise<number>;
}

/** Who knows the heartbeat streams of this replica. */
interface OpenStreams {
  /** How many are open. */
  readonly size: number;
}

/** What {@link StatusOverview} is made of. */
export interface StatusOverviewParts {
  readonly database: Pick<Database, "adminPool">;
  readonly updates: OpenUpdates;
  readonly streams: OpenStreams;
  readonly clock: Clock;
  readonly heartbeatIntervalMs: number;
}

/**
 * Counts the fleet. One aggregate query reads every device in service once, about a second for a million of them, so its
 * answer is shared: callers at the same time wait for the same count, and a count is given out again for
 * {@link minReuseMs}, or ten times as long as it took if that is longer. However many dashboards are open, counting takes
 * at most a tenth of one connection's time. What heartbeats changed in the last second may not be in it yet.
 */
export class StatusOverview {
  readonly #parts: StatusOverviewParts;
  #latest: { readonly status: FleetStatus; readonly reuseUntilMs: number } | undefined;
  #counting: Promise<FleetStatus> | undefined;

  constructor(parts: StatusOverviewParts) {
    this.#parts = parts;
  }

  /** The fleet's state, counted at most some seconds ago. */
  async get(): Promise<FleetStatus> {
    const status = await this.#counted();
    return { ...status, streaming: this.#parts.streams.size };
  }

  async #counted(): Promise<FleetStatus> {
    if (this.#latest !== undefined && this.#parts.clock.monotonicMs() < this.#latest.reuseUntilMs) {
      return this.#latest.status;
    }
    this.#counting ??= this.#count().finally(() => {
      this.#counting = undefined;
    });
    return await this.#counting;
  }

  async #count(): Promise<FleetStatus> {
    const { database, updates, clock, heartbeatIntervalMs } = this.#parts;
    const startedMs = clock.monotonicMs();
    const countedAt = clock.now();
    const [rows, updating] = await Promise.all([
      countFleet(database.adminPool, countedAt, heartbeatIntervalMs),
      updates.openUpdateCount(),
    ]);
    const status = { ...statusOf(rows), updating, streaming: 0, countedAt };
    const endedMs = clock.monotonicMs();
    const reuseMs = Math.max(minReuseMs, (endedMs - startedMs) * reusePerCost);
    this.#latest = { status, reuseUntilMs: endedMs + reuseMs };
    return status;
  }
}

/** As fresh as people at a dashboard need it. */
const minReuseMs = 3_000;

const reusePerCost = 10;

/** Longer lists say nothing at a glance. */
const maxNames = 100;

interface CountRow {
  readonly grouped_by: "all" | "version" | "type";
  readonly name: string | null;
  readonly total: string;
  readonly online: string;
  readonly late: string;
  readonly offline: string;
  readonly unknown: string;
}

async function countFleet(pool: Pool, now: Date, intervalMs: number): Promise<readonly CountRow[]> {
  const { rows } = await pool.query<CountRow>({
    name: "device_count_fleet",
    text: countSql,
    values: [
      new Date(now.getTime() - onlineIntervals * intervalMs),
      new Date(now.getTime() - lateIntervals * intervalMs),
    ],
  });
  return rows;
}

/** The same limits as presenceOf: a device is online at exactly 1.5 intervals and late at exactly 4. */
const countSql = `
  SELECT * FROM (
    SELECT CASE WHEN grouping(s.firmware_version) = 0 THEN 'version'
                WHEN grouping(d.device_type) = 0 THEN 'type' ELSE 'all' END AS grouped_by,
           coalesce(s.firmware_version, d.device_type) AS name,
           count(*) AS total,
           count(*) FILTER (WHERE s.last_seen_at >= $1) AS online,
           count(*) FILTER (WHERE s.last_seen_at >= $2 AND s.last_seen_at < $1) AS late,
           count(*) FILTER (WHERE s.last_seen_at < $2) AS offline,
           count(*) FILTER (WHERE s.last_seen_at IS NULL) AS unknown,
           row_number() OVER (PARTITION BY grouping(s.firmware_version), grouping(d.device_type)
                              ORDER BY count(*) DESC, s.firmware_version, d.device_type) AS position
      FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
     WHERE NOT d.is_deleted
     GROUP BY GROUPING SETS ((), (s.firmware_version), (d.device_type))
  ) counts WHERE position <= ${maxNames + 1} ORDER BY position`;

function statusOf(rows: readonly CountRow[]): Omit<FleetStatus, "updating" | "streaming" | "countedAt"> {
  const all = rows.find((row) => row.grouped_by === "all");
  const counts = (groupedBy: CountRow["grouped_by"]): CountByName[] =>
    rows
      // Devices that never sent a heartbeat have no version.
      .filter((row) => row.grouped_by === groupedBy && row.name !== null)
      .slice(0, maxNames)
      .map((row) => ({ name: row.name ?? "", count: Number(row.total) }));
  return {
    total: Number(all?.total ?? 0),
    online: Number(all?.online ?? 0),
    late: Number(all?.late ?? 0),
    offline: Number(all?.offline ?? 0),
    unknown: Number(all?.unknown ?? 0),
    firmwareVersions: counts("version"),
    deviceTypes: counts("type"),
  };
}
