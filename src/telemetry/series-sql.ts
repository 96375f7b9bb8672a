import { Parameters } from "../infra/database/parameters.ts";
import type { ReadSession } from "../infra/database/session.ts";
import { joined, type Sql, sql } from "../infra/database/sql.ts";
import type { BuiltInMetric } from "./built-in-metrics.ts";
import { rollupColumn } from "./rollup-sql.ts";
import { bucketsMs, type SeriesSegment, startOfBucket } from "./series-plan.ts";

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
}

/** Reads a series: a row for each bucket in which there is anything, oldest first. */
export async function seriesRows(session: ReadSession, query: SeriesQuery): Promise<SeriesRow[]> {
  if (query.segments.length === 0) return [];
  const parameters = new Parameters();
  return await session.query<SeriesRow>(seriesSql(query, parameters), parameters.values);
}

/** One statement that reads each segment, brings all to the same form, and joins what falls into the same bucket. */
function seriesSql({ metrics, widthMs, deviceIds, segments }: SeriesQuery, parameters: Parameters): Sql {
  const devices = parameters.add(deviceIds, "uuid[]");
  const width = parameters.add(`${widthMs} milliseconds`, "interval");
  const columns = metrics.map(
    ({ of }, index): MetricColumns => ({
      index,
      ...("custom" in of ? { name: parameters.add(of.custom, "text") } : { builtIn: of }),
    }),
  );
  const parts = segments.map((segment) => segmentSql(segment, { devices, width, columns }, parameters));
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

function segmentSql(
  { source, fromMs, toMs }: SeriesSegment,
  all: { readonly devices: Sql; readonly width: Sql; readonly columns: readonly MetricColumns[] },
  parameters: Parameters,
): Sql {
  const isRaw = source === "heartbeats";
  // A roll-up counts if any of it lies in the span.
  const firstMs = isRaw ? fromMs : startOfBucket(source, fromMs);
  const from = parameters.add(new Date(firstMs).toISOString(), "timestamptz");
  const to = parameters.add(new Date(toMs).toISOString(), "timestamptz");
  const columns = joined(all.columns.map(isRaw ? rawColumns : rollupColumns), sql`, `);
  if (isRaw) {
    return sql`SELECT date_bin(${all.width}, received_at, 'epoch'::timestamptz) AS bin, received_at AS at, sequence, ${columns}
      FROM device_heartbeats
      WHERE device_id = ANY(${all.devices}) AND received_at >= ${from} AND received_at < ${to}`;
  }
  const table = source === "1h" ? sql`heartbeat_rollups_1h` : sql`heartbeat_rollups_5m`;
  const step = parameters.add(`${bucketsMs[source]} milliseconds`, "interval");
  // The key begins with the bucket: named one by one, each is a step to a device's row in it.
  return sql`SELECT date_bin(${all.width}, bucket, 'epoch'::timestamptz) AS bin, last_received_at AS at, 0::bigint AS sequence, ${columns}
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
