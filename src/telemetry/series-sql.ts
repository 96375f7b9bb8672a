import { Parameters } from "../infra/database/parameters.ts";
import type { ReadSession } from "../infra/database/session.ts";
import { joined, type Sql, sql } from "../infra/database/sql.ts";
import type { BuiltInMetric } from "./built-in-metrics.ts";
import { rollupColumn } from "./rollup-sql.ts";
import { bucketsMs, dayMs, type SeriesSegment, startOfBucket } from "./series-plan.ts";
import { placedHeartbeats, type TimeBasis } from "./time-basis.ts";

/** A metric that a series can be read of, and what custom ones are called in the database. */
export interface SeriesMetric {
  readonly name: string;
  /** For people. */
  readonly words: string;
  readonly unit: string;
  readonly of: BuiltInMetric | { readonly custom: string };
}

/** What one statement reads. */
export interface SeriesQuery {
  readonly metrics: readonly SeriesMetric[];
  readonly widthMs: number;
  readonly deviceIds: readonly string[];
  readonly segments: readonly SeriesSegment[];
  readonly basis: TimeBasis;
  /** The oldest time of devices that counts. */
  readonly oldest: Date;
  /** Points of days begin at its midnight; empty for UTC. */
  readonly timeZone: string;
}

/** Reads a series: a row for each bucket in which there is anything, oldest first. */
export async function seriesRows(session: ReadSession, query: SeriesQuery): Promise<SeriesRow[]> {
  if (query.segments.length === 0) return [];
  const parameters = new Parameters();
  return await session.query<SeriesRow>(seriesSql(query, parameters), parameters.values);
}

/** One statement that reads each segment, brings all to the same form, and joins what falls into the same bucket. */
function seriesSql(query: SeriesQuery, parameters: Parameters): Sql {
  const { metrics, deviceIds, segments } = query;
  const devices = parameters.add(deviceIds, "uuid[]");
  const bin = binSql(query, parameters);
  const columns = metrics.map(
    ({ of }, index): MetricColumns => ({
      index,
      ...("custom" in of ? { name: parameters.add(of.custom, "text") } : { builtIn: of }),
    }),
  );
  const parts = segments.map((segment) =>
    segmentSql(segment, { ...query, devices, bin, columns }, parameters),
  );
  const aggregates = columns.map(
    ({ index: i }) => sql`min(min_${i}) AS min_${i}, max(max_${i}) AS max_${i}, 
      sum(sum_${i}) FILTER (WHERE abs(sum_${i}) < ${hugeFrom}) AS sum_${i},
      sum(sum_${i} / ${hugeScale}) FILTER (WHERE abs(sum_${i}) >= ${hugeFrom}) AS huge_${i},
      sum(n_${i})::float8 AS n_${i}, any_value(last_${i} ORDER BY at DESC, sequence DESC) AS last_${i}`,
  );
  return sql`SELECT extract(epoch FROM bin)::float8 * 1000 AS start, ${joined(aggregates, sql`, `)}
    FROM (${joined(parts, sql` UNION ALL `)}) parts GROUP BY bin ORDER BY bin`;
}

/**
 * What is at least so large is summed by itself, divided by {@link hugeScale}: the sum of a few such numbers is more than a
 * double holds, which the database refuses.
 */
const hugeFrom = 1e290;

/** See {@link SeriesRow}. */
export const hugeScale = 1e20;

/**
 * By the names of {@link seriesSql}'s columns: `start` in milliseconds since 1970, and six of each metric, of which `huge` times
 * {@link hugeScale} is a part of the sum.
 */
export type SeriesRow = Readonly<Record<string, number | null>>;

/** Where the database has a metric, and the number that its columns carry. */
type MetricColumns = { readonly index: number } & (
  | { readonly builtIn: BuiltInMetric }
  /** The parameter with a custom metric's name. */
  | { readonly name: Sql }
);

/** What the parts of one statement share. */
interface Segments extends Pick<SeriesQuery, "basis" | "oldest"> {
  readonly devices: Sql;
  /** The begin of the point that holds a time. */
  readonly bin: (time: Sql) => Sql;
  readonly columns: readonly MetricColumns[];
}

/** Days are as long as they are in their zone: counted on its wall clock, and turned back into instants. */
function binSql({ widthMs, timeZone }: SeriesQuery, parameters: Parameters): Segments["bin"] {
  const width = parameters.add(`${widthMs} milliseconds`, "interval");
  if (timeZone === "" || widthMs < dayMs)
    return (time) => sql`date_bin(${width}, ${time}, 'epoch'::timestamptz)`;
  const zone = parameters.add(timeZone, "text");
  return (time) =>
    sql`(date_bin(${width}, ${time} AT TIME ZONE ${zone}, timestamp '1970-01-01') AT TIME ZONE ${zone})`;
}

function segmentSql({ source, fromMs, toMs }: SeriesSegment, all: Segments, parameters: Parameters): Sql {
  if (source === "heartbeats") {
    const where = sql`device_id = ANY(${all.devices})`;
    const scan = { ...all, from: new Date(fromMs), to: new Date(toMs), where };
    return sql`SELECT ${all.bin(sql`at`)} AS bin, at, sequence, ${joined(all.columns.map(rawColumns), sql`, `)}
      FROM ${placedHeartbeats(scan, parameters)} placed`;
  }
  // A roll-up counts if any of it lies in the span.
  const from = parameters.add(new Date(startOfBucket(source, fromMs)).toISOString(), "timestamptz");
  const to = parameters.add(new Date(toMs).toISOString(), "timestamptz");
  const table = source === "1h" ? sql`heartbeat_rollups_1h` : sql`heartbeat_rollups_5m`;
  const step = parameters.add(`${bucketsMs[source]} milliseconds`, "interval");
  // The key begins with the bucket: named one by one, each is a step to a device's row in it.
  return sql`SELECT ${all.bin(sql`bucket`)} AS bin, last_received_at AS at, 0::bigint AS sequence,
      ${joined(all.columns.map(rollupColumns), sql`, `)}
    FROM ${table}
    WHERE device_id = ANY(${all.devices}) AND bucket >= ${from} AND bucket < ${to}
      AND bucket = ANY(ARRAY(SELECT generate_series(${from}, ${to}, ${step})))`;
}

function rawColumns(metric: MetricColumns): Sql {
  const { index: i } = metric;
  const read = "name" in metric ? sql`(metrics->${metric.name})` : metric.builtIn.rawSql;
  const value = sql`(${read})::float8`;
  return sql`${value} AS min_${i}, ${value} AS max_${i}, ${value} AS sum_${i},
    CASE WHEN ${value} IS NULL THEN 0 ELSE 1 END AS n_${i}, ${value} AS last_${i}`;
}

function rollupColumns(metric: MetricColumns): Sql {
  const { index: i } = metric;
  const part = (name: "min" | "max" | "sum" | "last", position: number) =>
    "name" in metric
      ? sql`(metrics->${metric.name}->${position})::float8`
      : sql`${rollupColumn(metric.builtIn, name)}::float8`;
  const n =
    "name" in metric
      ? sql`(metrics->${metric.name}->3)::integer`
      : sql`coalesce(${rollupColumn(metric.builtIn, "n")}, count)`;
  return sql`${part("min", 0)} AS min_${i}, ${part("max", 1)} AS max_${i}, ${part("sum", 2)} AS sum_${i},
    ${n} AS n_${i}, ${part("last", 4)} AS last_${i}`;
}
