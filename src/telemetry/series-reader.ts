import { invalidArgument, OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import { asDatabaseError } from "../infra/database/errors.ts";
import { Parameters } from "../infra/database/parameters.ts";
import type { Session } from "../infra/database/session.ts";
import { joined, type Sql, sql } from "../infra/database/sql.ts";
import type { TimePartitions } from "../infra/database/time-partitions.ts";
import { type BuiltInMetric, builtInMetrics, customPrefix } from "./built-in-metrics.ts";
import type { DeviceSelection } from "./device-selection.ts";
import type { RollupProgress } from "./rollup-job.ts";
import { rollupColumn } from "./rollup-sql.ts";
import { planSeries, type SeriesSegment, type SeriesSource, segmentsOf } from "./series-plan.ts";

/** What a {@link SeriesReader} is made of. */
export interface SeriesReaderParts {
  readonly pool: Session;
  readonly clock: Clock;
  readonly devices: DeviceSelection;
  readonly rollups: { progress(): Promise<RollupProgress> };
  /** Says how long each source is kept. */
  readonly kept: Readonly<Record<"heartbeats" | "5m", Pick<TimePartitions, "firstKept">>>;
}

/** Which series to read. */
export interface SeriesRequest {
  /** Either one device or a filter. */
  readonly devices: { readonly id: string } | { readonly filter: string };
  /** At least one; see {@link BuiltInMetric.name} and {@link customPrefix}. */
  readonly metrics: readonly string[];
  readonly from: Date;
  /** By default now. */
  readonly to?: Date | undefined;
  readonly maxPoints: number;
}

/** Metrics over time. */
export interface SeriesAnswer {
  readonly source: SeriesSource;
  readonly widthMs: number;
  /** In the order of the metrics asked for. */
  readonly series: readonly Series[];
}

/** One metric over time. */
interface Series {
  readonly metric: string;
  /** The metric's name for people. */
  readonly words: string;
  /** Empty for custom metrics. */
  readonly unit: string;
  readonly points: readonly SeriesPoint[];
}

/** What was measured within one bucket of time. */
interface SeriesPoint {
  readonly start: Date;
  readonly min: number;
  readonly avg: number;
  readonly max: number;
  readonly last: number;
  readonly count: number;
}

/** Reads metrics over time, thinned out by the database. */
export class SeriesReader {
  readonly #parts: SeriesReaderParts;

  constructor(parts: SeriesReaderParts) {
    this.#parts = parts;
  }

  /**
   * Reads series. Throws INVALID_ARGUMENT for a metric that cannot be, an empty span, a bad filter or one that matches more
   * than {@link maxDevices}, and DEADLINE_EXCEEDED if the database needs too long. Of roll-ups whole buckets count, also
   * where the span begins within one.
   */
  async read(request: SeriesRequest): Promise<SeriesAnswer> {
    const { clock, kept, rollups, devices, pool } = this.#parts;
    const metrics = request.metrics.map((name, index) => seriesMetric(name, `metrics[${index}]`));
    const fromMs = request.from.getTime();
    const toMs = (request.to ?? clock.now()).getTime();
    if (toMs <= fromMs) throw invalidArgument("start_time", "must lie before the end");
    const plan = planSeries({
      fromMs,
      toMs,
      maxPoints: request.maxPoints,
      keptFromMs: {
        heartbeats: kept.heartbeats.firstKept()?.getTime() ?? Number.NEGATIVE_INFINITY,
        "5m": kept["5m"].firstKept()?.getTime() ?? Number.NEGATIVE_INFINITY,
      },
    });
    try {
      const ids =
        "id" in request.devices
          ? [request.devices.id]
          : await devices.idsOf(request.devices.filter, maxDevices);
      const progress = await rollups.progress();
      const segments = segmentsOf(
        plan,
        { fromMs, toMs },
        { "5m": progress["5m"].getTime(), "1h": progress["1h"].getTime() },
      );
      const parameters = new Parameters();
      const rows = await pool.query<SeriesRow>(
        seriesSql({ metrics, widthMs: plan.widthMs, deviceIds: ids, segments }, parameters),
        parameters.values,
      );
      return {
        ...plan,
        series: metrics.map(({ name, words, unit }, index) => ({
          metric: name,
          words,
          unit,
          points: pointsOf(rows, index),
        })),
      };
    } catch (error) {
      if ((error as { code?: unknown }).code === queryCanceled) throw tooMuch(error);
      throw asDatabaseError(error) ?? error;
    }
  }
}

/** The most devices of one series. */
const maxDevices = 10_000;

/** SQLSTATE of a statement that ran out of time. */
const queryCanceled = "57014";

function tooMuch(cause: unknown): OtaError {
  return new OtaError(
    "deadline_exceeded",
    "DEADLINE_EXCEEDED",
    "this series takes too long to read; ask for fewer devices or a shorter time",
    { cause },
  );
}

/** A metric that a series can be read of, and what custom ones are called in the database. */
interface SeriesMetric {
  readonly name: string;
  /** For people. */
  readonly words: string;
  readonly unit: string;
  readonly of: BuiltInMetric | { readonly custom: string };
}

function seriesMetric(name: string, field: string): SeriesMetric {
  const builtIn = builtInMetrics.find((metric) => metric.name === name);
  if (builtIn !== undefined) return { name, words: builtIn.words, unit: builtIn.unit, of: builtIn };
  const custom = name.startsWith(customPrefix) ? name.slice(customPrefix.length) : "";
  if (/^[\w./-]{1,64}$/.test(custom)) return { name, words: custom, unit: "", of: { custom } };
  throw invalidArgument(
    field,
    `${JSON.stringify(name)} is no metric: there are ${builtInMetrics.map((metric) => metric.name).join(", ")} and ${customPrefix}NAME`,
  );
}

/** What one statement reads. */
interface SeriesQuery {
  readonly metrics: readonly SeriesMetric[];
  readonly widthMs: number;
  readonly deviceIds: readonly string[];
  readonly segments: readonly SeriesSegment[];
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
    ({ index: i }) => sql`min(min_${i}) AS min_${i}, max(max_${i}) AS max_${i}, sum(sum_${i}) AS sum_${i},
      sum(n_${i})::float8 AS n_${i}, any_value(last_${i} ORDER BY at DESC, sequence DESC) AS last_${i}`,
  );
  return sql`SELECT extract(epoch FROM bin)::float8 * 1000 AS start, ${joined(aggregates, sql`, `)}
    FROM (${joined(parts, sql` UNION ALL `)}) parts GROUP BY bin ORDER BY bin`;
}

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
  const bucketMs = source === "1h" ? 3_600_000 : 300_000;
  const firstMs = isRaw ? fromMs : Math.floor(fromMs / bucketMs) * bucketMs;
  const from = parameters.add(new Date(firstMs).toISOString(), "timestamptz");
  const to = parameters.add(new Date(toMs).toISOString(), "timestamptz");
  const columns = joined(all.columns.map(isRaw ? rawColumns : rollupColumns), sql`, `);
  if (isRaw) {
    return sql`SELECT date_bin(${all.width}, received_at, 'epoch'::timestamptz) AS bin, received_at AS at, sequence, ${columns}
      FROM device_heartbeats
      WHERE device_id = ANY(${all.devices}) AND received_at >= ${from} AND received_at < ${to}`;
  }
  const table = source === "1h" ? sql`heartbeat_rollups_1h` : sql`heartbeat_rollups_5m`;
  const step = parameters.add(`${bucketMs} milliseconds`, "interval");
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

/** By the names of {@link seriesSql}'s columns: `start` in milliseconds since 1970, and five of each metric. */
type SeriesRow = Readonly<Record<string, number | null>>;

function pointsOf(rows: readonly SeriesRow[], index: number): SeriesPoint[] {
  return rows.flatMap((row) => {
    const of = (part: string) => row[`${part}_${index}`] ?? 0;
    const count = of("n");
    if (count === 0) return [];
    return [
      {
        start: new Date(row["start"] ?? 0),
        min: of("min"),
        avg: of("sum") / count,
        max: of("max"),
        last: of("last"),
        count,
      },
    ];
  });
}
