import { invalidArgument, type OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import { asDatabaseError } from "../infra/database/errors.ts";
import type { HeavyReader, HeavyReads } from "../infra/database/heavy-reads.ts";
import type { TimePartitions } from "../infra/database/time-partitions.ts";
import { offsetMs, wallClock } from "../schedule/wall-clock.ts";
import { builtInMetrics, customPrefix } from "./built-in-metrics.ts";
import type { DeviceSelection } from "./device-selection.ts";
import type { RollupProgress } from "./rollup-job.ts";
import {
  planSeries,
  type SeriesPlan,
  type SeriesSource,
  type SeriesSpan,
  segmentsOf,
  startOfBucket,
} from "./series-plan.ts";
import { hugeScale, type SeriesMetric, type SeriesRow, seriesRows } from "./series-sql.ts";
import { oldestDeviceTime, type TimeBasis } from "./time-basis.ts";

/** What a {@link SeriesReader} is made of. */
export interface SeriesReaderParts {
  readonly reads: Pick<HeavyReads, "for">;
  readonly clock: Clock;
  readonly devices: DeviceSelection;
  readonly rollups: { progress(): Promise<RollupProgress> };
  /** Says how long each source is kept. */
  readonly kept: Readonly<Record<SeriesSource, Pick<TimePartitions, "firstKept" | "rowsFrom">>>;
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
  readonly basis: TimeBasis;
  /** The IANA name of the time zone whose days count; empty for UTC. */
  readonly timeZone: string;
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
   * than {@link maxDevices}, and what {@link HeavyReads.for} throws. Of roll-ups whole buckets count, also where the span
   * begins within one. What it costs follows from what is kept, however long the span.
   */
  async read(request: SeriesRequest, reader: HeavyReader): Promise<SeriesAnswer> {
    const { reads, devices, kept } = this.#parts;
    const metrics = request.metrics.map((name, index) => seriesMetric(name, `metrics[${index}]`));
    const span = this.#spanOf(request);
    const plan = this.#planOf(span, request);
    const session = reads.for(reader);
    try {
      const deviceIds =
        "id" in request.devices
          ? [request.devices.id]
          : await devices.idsOf(session, request.devices.filter, maxDevices);
      const query = {
        metrics,
        widthMs: plan.widthMs,
        deviceIds,
        segments: segmentsOf(plan, span, await this.#rolledUpTo()),
        basis: request.basis,
        oldest: oldestDeviceTime(kept.heartbeats),
        timeZone: request.timeZone,
      };
      const rows = await seriesRows(session, query);
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
      // The database's list of time zones may be older than ours.
      if ((error as { code?: unknown }).code === invalidParameterValue) throw noTimeZone(request.timeZone);
      throw asDatabaseError(error) ?? error;
    }
  }

  /** The part of the time asked for in which there can be anything; empty where it ends before it begins. */
  #spanOf({ from, to, basis }: SeriesRequest): SeriesSpan {
    const { clock, kept } = this.#parts;
    const now = clock.now();
    if ((to ?? now) <= from) throw invalidArgument("start_time", "must lie before the end");
    const oldest =
      basis === "device"
        ? [oldestDeviceTime(kept.heartbeats).getTime()]
        : Object.values(kept).flatMap((source) => source.rowsFrom()?.getTime() ?? []);
    return {
      fromMs: Math.max(from.getTime(), oldest.length === 0 ? -Infinity : Math.min(...oldest)),
      toMs: Math.min((to ?? now).getTime(), now.getTime() + aheadMs),
    };
  }

  #planOf(span: SeriesSpan, { maxPoints, basis, timeZone }: SeriesRequest): SeriesPlan {
    const { kept } = this.#parts;
    return planSeries({
      ...span,
      maxPoints,
      onlyHeartbeats: basis === "device",
      aheadMs: aheadOfUtc(timeZone, span),
      keptFromMs: {
        heartbeats: kept.heartbeats.firstKept()?.getTime() ?? Number.NEGATIVE_INFINITY,
        "5m": kept["5m"].firstKept()?.getTime() ?? Number.NEGATIVE_INFINITY,
      },
    });
  }

  /** Where a clock that was wrong has been ahead, roll-ups are complete up to now at the most. */
  async #rolledUpTo(): Promise<Record<"5m" | "1h", number>> {
    const { clock, rollups } = this.#parts;
    const nowMs = clock.now().getTime();
    const progress = await rollups.progress();
    return {
      "5m": Math.min(progress["5m"].getTime(), startOfBucket("5m", nowMs)),
      "1h": Math.min(progress["1h"].getTime(), startOfBucket("1h", nowMs)),
    };
  }
}

/** The most devices of one series. */
const maxDevices = 10_000;

/** So far ahead of now a span may end: nothing is received later, and a day that is not over can be asked for. */
const aheadMs = 24 * 3_600_000;

/** By how much a zone's wall clock is ahead at both ends; INVALID_ARGUMENT for a zone that is none. */
function aheadOfUtc(timeZone: string, { fromMs, toMs }: SeriesSpan): { from: number; to: number } {
  if (timeZone === "") return { from: 0, to: 0 };
  // Offsets such as +02:00 are understood too, by the database the other way round.
  if (/^[A-Za-z]/.test(timeZone)) {
    try {
      const clock = wallClock(timeZone);
      return { from: offsetMs(clock, fromMs), to: offsetMs(clock, toMs) };
    } catch {
      // No zone has such a name.
    }
  }
  throw noTimeZone(timeZone);
}

function noTimeZone(name: string): OtaError {
  return invalidArgument(
    "time_zone",
    `${JSON.stringify(name)} is not the IANA name of a time zone, such as "Europe/Berlin"`,
  );
}

/** SQLSTATE of, among others, a time zone that the database does not know. */
const invalidParameterValue = "22023";

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
        avg: bounded(of("sum") / count + (of("huge") / count) * hugeScale),
        max: of("max"),
        last: of("last"),
        count,
      },
    ];
  });
}

/** The mean of the largest numbers may round to more than there is. */
function bounded(value: number): number {
  return Math.min(Math.max(value, -Number.MAX_VALUE), Number.MAX_VALUE);
}
