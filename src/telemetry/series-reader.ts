import type pg from "pg";
import { invalidArgument, OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import { asDatabaseError } from "../infra/database/errors.ts";
import type { TimePartitions } from "../infra/database/time-partitions.ts";
import { type BuiltInMetric, builtInMetrics, customPrefix } from "./built-in-metrics.ts";
import type { DeviceSelection } from "./device-selection.ts";
import type { RollupProgress } from "./rollup-job.ts";
import { planSeries, type SeriesSegment, type SeriesSource, segmentsOf } from "./series-plan.ts";

/** What a {@link SeriesReader} is made of. */
export interface SeriesReaderParts {
  readonly pool: pg.Pool;
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
      const query = new SeriesSql(metrics, plan.widthMs, ids, segments);
      const { rows } = await pool.query<(number | null)[]>({
        text: query.text,
        values: query.values,
        rowMode: "array",
      } as pg.QueryArrayConfig);
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

/** One statement that reads each segment, brings all to the same form, and joins what falls into the same bucket. */
class SeriesSql {
  readonly text: string;
  readonly values: unknown[] = [];
  readonly #metrics: readonly SeriesMetric[];

  constructor(
    metrics: readonly SeriesMetric[],
    widthMs: number,
    deviceIds: readonly string[],
    segments: readonly SeriesSegment[],
  ) {
    this.#metrics = metrics;
    const devices = this.#parameter(deviceIds, "uuid[]");
    const width = this.#parameter(`${widthMs} milliseconds`, "interval");
    const names = metrics.map(({ of }) => ("custom" in of ? this.#parameter(of.custom, "text") : ""));
    const parts = segments.map((segment) => this.#segment(segment, devices, width, names));
    const aggregates = metrics.map(
      (_metric, i) =>
        `min(min_${i}), max(max_${i}), sum(sum_${i}), sum(n_${i})::float8, any_value(last_${i} ORDER BY at DESC, sequence DESC)`,
    );
    this.text = `SELECT extract(epoch FROM bin)::float8 * 1000, ${aggregates.join(", ")}
      FROM (${parts.join("\nUNION ALL\n")}) parts GROUP BY bin ORDER BY bin`;
  }

  #parameter(value: unknown, type: string): string {
    return `$${this.values.push(value)}::${type}`;
  }

  #segment(
    { source, fromMs, toMs }: SeriesSegment,
    devices: string,
    width: string,
    names: readonly string[],
  ): string {
    const isRaw = source === "heartbeats";
    const time = isRaw ? "received_at" : "bucket";
    const table = isRaw ? "device_heartbeats" : `heartbeat_rollups_${source}`;
    // A roll-up counts if any of it lies in the span.
    const slackMs = source === "1h" ? 3_600_000 : 300_000;
    const firstMs = isRaw ? fromMs : Math.floor(fromMs / slackMs) * slackMs;
    const from = this.#parameter(new Date(firstMs).toISOString(), "timestamptz");
    const to = this.#parameter(new Date(toMs).toISOString(), "timestamptz");
    // The key begins with the bucket: named one by one, each is a step to a device's row in it.
    const buckets = isRaw
      ? ""
      : ` AND bucket = ANY(ARRAY(SELECT generate_series(${from}, ${to}, '${slackMs} milliseconds')))`;
    const columns = this.#metrics.map(({ of }, i) =>
      isRaw ? rawColumns(of, names[i] ?? "", i) : rollupColumns(of, names[i] ?? "", i),
    );
    return `SELECT date_bin(${width}, ${time}, 'epoch'::timestamptz) AS bin,
        ${isRaw ? "received_at AS at, sequence" : "last_received_at AS at, 0::bigint AS sequence"}, ${columns.join(", ")}
      FROM ${table} WHERE device_id = ANY(${devices}) AND ${time} >= ${from} AND ${time} < ${to}${buckets}`;
  }
}

function rawColumns(of: SeriesMetric["of"], name: string, i: number): string {
  const value = `(${"custom" in of ? `(metrics->${name})` : of.rawSql})::float8`;
  return `${value} AS min_${i}, ${value} AS max_${i}, ${value} AS sum_${i},
    CASE WHEN ${value} IS NULL THEN 0 ELSE 1 END AS n_${i}, ${value} AS last_${i}`;
}

function rollupColumns(of: SeriesMetric["of"], name: string, i: number): string {
  const part = (part: string, index: number) =>
    "custom" in of ? `(metrics->${name}->${index})::float8` : `${of.column}_${part}::float8`;
  const n = "custom" in of ? `(metrics->${name}->3)::integer` : `coalesce(${of.column}_n, count)`;
  return `${part("min", 0)} AS min_${i}, ${part("max", 1)} AS max_${i}, ${part("sum", 2)} AS sum_${i},
    ${n} AS n_${i}, ${part("last", 4)} AS last_${i}`;
}

/** Columns a metric has in a row of {@link SeriesSql}, behind the time. */
const columnsEach = 5;

function pointsOf(rows: readonly (readonly (number | null)[])[], index: number): SeriesPoint[] {
  const first = 1 + index * columnsEach;
  const points: SeriesPoint[] = [];
  for (const row of rows) {
    const [min, max, sum, count, last] = row.slice(first, first + columnsEach).map((value) => value ?? 0);
    if (count === undefined || count === 0) continue;
    points.push({
      start: new Date(row[0] ?? 0),
      min: min ?? 0,
      avg: (sum ?? 0) / count,
      max: max ?? 0,
      last: last ?? 0,
      count,
    });
  }
  return points;
}
