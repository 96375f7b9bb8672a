import { invalidArgument, OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import { asDatabaseError } from "../infra/database/errors.ts";
import { Parameters } from "../infra/database/parameters.ts";
import type { Session } from "../infra/database/session.ts";
import type { TimePartitions } from "../infra/database/time-partitions.ts";
import { builtInMetrics, customPrefix } from "./built-in-metrics.ts";
import type { DeviceSelection } from "./device-selection.ts";
import type { RollupProgress } from "./rollup-job.ts";
import { planSeries, type SeriesSource, segmentsOf } from "./series-plan.ts";
import { type SeriesMetric, type SeriesRow, seriesSql } from "./series-sql.ts";

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
  /** At least one; see {@link builtInMetrics} and {@link customPrefix}. */
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
