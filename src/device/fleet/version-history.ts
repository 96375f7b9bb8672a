import type { Logger } from "pino";
import type { Background } from "../../infra/background/background.ts";
import type { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import type { Pool } from "../../infra/database/pool.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import { canonicalVersion } from "../../version/semantic-version.ts";
import type { FleetCounters } from "./fleet-counters.ts";

/** What a {@link VersionHistory} is made of. */
export interface VersionHistoryParts {
  readonly database: Pick<Database, "pool">;
  readonly counters: Pick<FleetCounters, "read">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Hours older than this are dropped. */
  readonly retentionDays: number;
}

/** Which history to read. */
export interface VersionHistoryRequest {
  /** Empty for the firmware. */
  readonly component: string;
  /** Included. */
  readonly from: Date;
  /** Excluded; until now if it is undefined. */
  readonly to: Date | undefined;
  readonly maxPoints: number;
}

/** How many devices ran which version over time. */
export interface VersionHistoryAnswer {
  /** At most {@link maxVersions}, those that most devices run at the end first. */
  readonly versions: readonly string[];
  /** Oldest first. */
  readonly points: readonly VersionPoint[];
  /** When the oldest hour that is kept was counted. */
  readonly first: Date | undefined;
}

/** How many devices ran which version at some time. */
interface VersionPoint {
  readonly countedAt: Date;
  /** In the order of the versions. */
  readonly counts: readonly number[];
  /** Those of further versions. */
  readonly other: number;
  /** Devices that had not told. */
  readonly unknown: number;
}

/**
 * How many devices ran which version, hour by hour, copied from the fleet's counters once in each hour by whichever replica
 * is first. What nobody counted, because no replica ran, has no point. Applications are not in the counters: they are
 * counted from the devices' states, once an hour like the counters' own check.
 */
export class VersionHistory implements AsyncDisposable {
  readonly #parts: VersionHistoryParts;
  readonly #pool: Pool;
  #round: Round | undefined;

  constructor(parts: VersionHistoryParts) {
    this.#parts = parts;
    this.#pool = parts.database.pool;
  }

  /** Counts now and at the beginning of each hour, until closed. */
  start(background: Background): void {
    this.#round = background.round({
      name: "version_history",
      everyMs: roundMs,
      atOnce: true,
      work: async () => {
        await this.record();
      },
    });
  }

  /** Counts the fleet for this hour, unless that was done; drops hours that are too old. Whether it counted. */
  async record(): Promise<boolean> {
    const now = this.#parts.clock.now();
    const hour = new Date(Math.floor(now.getTime() / hourMs) * hourMs).toISOString();
    // Nearly always the answer, and without a transaction.
    if (await this.#isCounted(hour)) return false;
    const oldest = new Date(now.getTime() - this.#parts.retentionDays * 24 * hourMs).toISOString();
    let counted = 0;
    try {
      await this.#pool.inTurn("version history", async (session) => {
        counted = await session.run(recordSql, [hour, now.toISOString(), rest]);
        await session.run(forgetSql, [oldest]);
      });
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
    return counted > 0;
  }

  /** The history of a component. The firmware's ends with the present if the request has no end. */
  async read({ component, from, to, maxPoints }: VersionHistoryRequest): Promise<VersionHistoryAnswer> {
    const now = this.#parts.clock.now();
    const end = to ?? now;
    const hours = Math.ceil((end.getTime() - from.getTime()) / hourMs / maxPoints);
    try {
      const [found, first] = await Promise.all([
        this.#pool.query<CountRow>(readSql, [
          component,
          from.toISOString(),
          end.toISOString(),
          Math.max(hours, 1),
        ]),
        this.#pool.query<{ counted_at: Date }>(firstSql),
      ]);
      const counted = countedOf(found, component);
      if (to === undefined && component === firmware) counted.push(await this.#present(now));
      // The present is one of them.
      return { ...answerOf(counted.slice(-maxPoints)), first: first[0]?.counted_at };
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }

  /** Ends after what is under way. May be called more than once. */
  async close(): Promise<void> {
    await this.#round?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #isCounted(hour: string): Promise<boolean> {
    return (await this.#pool.run(isCountedSql, [hour])) > 0;
  }

  async #present(now: Date): Promise<Counted> {
    const versions = new Map<string, number>();
    let unknown = 0;
    for (const { dimension, name = "", count } of await this.#parts.counters.read(now)) {
      if (dimension === "firmware_version") versions.set(name, count);
      if (dimension === "total") unknown = count;
    }
    for (const count of versions.values()) unknown -= count;
    return { countedAt: now, versions, other: 0, unknown: Math.max(unknown, 0) };
  }
}

interface CountRow {
  readonly counted_at: Date;
  readonly component: string;
  readonly version: string;
  readonly device_count: string;
}

/** One moment, with its versions by name. */
interface Counted {
  readonly countedAt: Date;
  readonly versions: ReadonlyMap<string, number>;
  readonly other: number;
  readonly unknown: number;
}

/** The name of the component that each device has. */
const firmware = "";

/** More lines cannot be told apart. */
const maxVersions = 20;

/** More versions of a component than this are summed up: devices say themselves what they run. */
const maxStored = 100;

/** The version of such a sum: no semantic version. */
const rest = "+";

const hourMs = 3_600_000;

/** How late after its beginning an hour is counted, at most. */
const roundMs = 30_000;

/** Whoever comes second finds the hour counted: the rows of one moment are never mixed with those of another. */
const recordSql = sql`
  WITH firmware AS (
    SELECT name AS version, sum(count) AS devices FROM fleet_counts
      WHERE dimension = 'firmware_version' GROUP BY name HAVING sum(count) > 0
  ), texts AS MATERIALIZED (
    SELECT '' AS component, version, devices FROM firmware
    UNION ALL
    SELECT key, value, count(*) FROM device_state, jsonb_each_text(components)
      WHERE in_service AND components IS NOT NULL GROUP BY key, value
  ), counted AS (
    SELECT component, version_name(version) AS version, sum(devices) AS devices FROM texts GROUP BY 1, 2
  ), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY component ORDER BY devices DESC, version) AS position,
           dense_rank() OVER (ORDER BY component) AS component_position
      FROM counted
  )
  INSERT INTO fleet_version_history (hour, counted_at, component, version, device_count)
  SELECT $1::timestamptz, $2::timestamptz, component, CASE WHEN position <= ${maxStored} THEN version ELSE $3 END, sum(devices)
    FROM ranked
    WHERE component_position <= ${maxStored} AND NOT EXISTS (SELECT FROM fleet_version_history WHERE hour = $1::timestamptz)
    GROUP BY 3, 4
  UNION ALL
  SELECT $1::timestamptz, $2::timestamptz, '', '', greatest(
      (SELECT coalesce(sum(count), 0) FROM fleet_counts WHERE dimension = 'total')
      - (SELECT coalesce(sum(devices), 0) FROM firmware), 0)
    WHERE NOT EXISTS (SELECT FROM fleet_version_history WHERE hour = $1::timestamptz)`;

/** The last hour that was counted of each so many, by the row that each has. */
const readSql = prepared(
  "device_version_history",
  sql`
  WITH hours AS (
    SELECT max(hour) AS hour FROM fleet_version_history
      WHERE component = '' AND version = '' AND hour > $2::timestamptz - interval '1 hour' AND hour < $3::timestamptz
        AND counted_at >= $2::timestamptz AND counted_at < $3::timestamptz
      GROUP BY floor(extract(epoch FROM hour) / 3600 / $4::bigint)
  )
  SELECT h.counted_at, h.component, h.version, h.device_count
    FROM hours JOIN fleet_version_history h USING (hour)
    WHERE h.component = $1 OR h.component = '' AND h.version = ''
    ORDER BY h.hour`,
);

const forgetSql = sql`DELETE FROM fleet_version_history WHERE hour < $1`;

const firstSql = sql`SELECT counted_at FROM fleet_version_history ORDER BY hour LIMIT 1`;

const isCountedSql = sql`SELECT FROM fleet_version_history WHERE hour = $1 LIMIT 1`;

function countedOf(rows: readonly CountRow[], component: string): Counted[] {
  const counted: { countedAt: Date; versions: Map<string, number>; other: number; unknown: number }[] = [];
  for (const row of rows) {
    let current = counted.at(-1);
    if (current?.countedAt.getTime() !== row.counted_at.getTime()) {
      current = { countedAt: row.counted_at, versions: new Map(), other: 0, unknown: 0 };
      counted.push(current);
    }
    const devices = Number(row.device_count);
    if (row.component !== component) continue;
    if (row.version === "") current.unknown = devices;
    else if (row.version === rest) current.other = devices;
    else {
      const name = canonicalVersion(row.version) ?? row.version;
      current.versions.set(name, (current.versions.get(name) ?? 0) + devices);
    }
  }
  return counted;
}

function answerOf(counted: readonly Counted[]): Pick<VersionHistoryAnswer, "versions" | "points"> {
  const most = new Map<string, number>();
  for (const { versions } of counted) {
    for (const [version, devices] of versions) most.set(version, Math.max(most.get(version) ?? 0, devices));
  }
  const last = counted.at(-1)?.versions;
  const shown = [...most]
    .toSorted(([a, most], [b, others]) => others - most || compare(a, b))
    .slice(0, maxVersions)
    .map(([version]) => version)
    .toSorted((a, b) => (last?.get(b) ?? 0) - (last?.get(a) ?? 0) || compare(a, b));
  return {
    versions: shown,
    points: counted.map(({ countedAt, versions, other, unknown }) => {
      const counts = shown.map((version) => versions.get(version) ?? 0);
      const all = versions.values().reduce((sum, devices) => sum + devices, 0);
      return {
        countedAt,
        counts,
        other: other + all - counts.reduce((sum, devices) => sum + devices, 0),
        unknown,
      };
    }),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
