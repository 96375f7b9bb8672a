import type { DurableHeartbeat } from "../device/state/heartbeat-record.ts";
import type { Background } from "../infra/background/background.ts";
import type { Clock } from "../infra/clock.ts";
import type { HeavyReads } from "../infra/database/heavy-reads.ts";
import type { Pool } from "../infra/database/pool.ts";
import { TimePartitions } from "../infra/database/time-partitions.ts";
import type { Logger } from "../infra/logger.ts";
import { DeviceSelection } from "./device-selection.ts";
import { HeartbeatExport } from "./heartbeat-export.ts";
import { MetricCatalogue } from "./metric-catalogue.ts";
import { PositionSearch } from "./position-search.ts";
import { PositionWriter } from "./position-writer.ts";
import { RollupJob } from "./rollup-job.ts";
import { SeriesReader } from "./series-reader.ts";
import { TrackReader } from "./track-reader.ts";

/** What a {@link Telemetry} is made of. */
export interface TelemetryParts {
  readonly pool: Pool;
  readonly heavyReads: HeavyReads;
  /** The partitions of the heartbeats. */
  readonly raw: TimePartitions;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly background: Background;
  /** Counts custom metrics that the catalogue has no room for. */
  readonly metricOverflow: { inc(): void };
  readonly heartbeatIntervalMs: number;
  readonly retention: TelemetryRetention;
}

/** How long roll-ups are kept, in whole days before today. */
interface TelemetryRetention {
  readonly fiveMinuteRollupDays: number;
  readonly oneHourRollupDays: number;
}

/** Everything that is made of the heartbeats beside their history: roll-ups, series, the catalogue of metrics, positions. */
export class Telemetry implements AsyncDisposable {
  readonly clock: Clock;
  readonly rollups: RollupJob;
  readonly series: SeriesReader;
  readonly catalogue: MetricCatalogue;
  readonly track: TrackReader;
  readonly positions: PositionSearch;
  readonly exports: HeartbeatExport;
  readonly #positionWriter: PositionWriter;
  readonly #partitions: readonly TimePartitions[];

  /** Makes the partitions of the roll-ups and begins to work. */
  static async start(parts: TelemetryParts): Promise<Telemetry> {
    const telemetry = new Telemetry(parts);
    const { background } = parts;
    for (const partitions of telemetry.#partitions) await partitions.start(background);
    telemetry.rollups.start(background);
    background.add(telemetry.catalogue.writer);
    background.add(telemetry.#positionWriter.writer);
    return telemetry;
  }

  private constructor(parts: TelemetryParts) {
    const { pool, heavyReads: reads, raw, clock, logger, heartbeatIntervalMs } = parts;
    const { fiveMinutes, oneHour } = rollupPartitions(parts);
    const devices = new DeviceSelection({ clock, heartbeatIntervalMs });
    this.#partitions = [fiveMinutes, oneHour];
    this.clock = clock;
    this.rollups = new RollupJob({
      pool,
      raw,
      partitions: { "5m": fiveMinutes, "1h": oneHour },
      clock,
      logger,
    });
    this.series = new SeriesReader({
      reads,
      clock,
      devices,
      rollups: this.rollups,
      kept: { heartbeats: raw, "5m": fiveMinutes, "1h": oneHour },
    });
    this.catalogue = new MetricCatalogue({ pool, clock, logger, overflow: parts.metricOverflow });
    this.#positionWriter = new PositionWriter({ pool, clock, logger });
    this.track = new TrackReader({ reads, heartbeats: raw });
    this.positions = new PositionSearch(reads, devices);
    this.exports = new HeartbeatExport(reads, clock);
  }

  /** Is told of heartbeats that are about to be stored. */
  prepare(records: readonly DurableHeartbeat[]): Promise<void> | undefined {
    return this.rollups.prepare(records);
  }

  /** Is told of heartbeats that are stored. */
  observe(records: readonly DurableHeartbeat[]): void {
    this.rollups.observe(records);
    this.catalogue.observe(records);
    this.#positionWriter.observe(records);
  }

  /** Writes what waits and stops. May be called more than once. */
  async close(): Promise<void> {
    await this.rollups.close();
    await this.catalogue.close();
    await this.#positionWriter.close();
    for (const partitions of this.#partitions) await partitions.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The partitions of the roll-ups: a day each of five minutes, a week each of one hour. */
export function rollupPartitions({
  pool,
  clock,
  logger,
  retention,
}: Pick<TelemetryParts, "pool" | "clock" | "logger" | "retention">) {
  const parts = { pool, clock, logger };
  return {
    fiveMinutes: new TimePartitions({
      ...parts,
      table: "heartbeat_rollups_5m",
      daysEach: 1,
      retentionDays: retention.fiveMinuteRollupDays,
    }),
    oneHour: new TimePartitions({
      ...parts,
      table: "heartbeat_rollups_1h",
      daysEach: 7,
      retentionDays: retention.oneHourRollupDays,
      ahead: 1,
    }),
  };
}
