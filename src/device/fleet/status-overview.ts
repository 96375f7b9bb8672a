import type { Clock } from "../../infra/clock.ts";
import { forEverybody } from "../../infra/reader.ts";
import {
  type FleetCount,
  type FleetCounters,
  type PresenceCounts,
  presenceCountsOf,
} from "./fleet-counters.ts";

/** A number of devices that share something. */
export interface CountByName {
  readonly name: string;
  readonly count: number;
}

/** A number of devices whose reading lies between two bounds; a bound that is undefined is none. */
export interface HistogramBucket {
  /** Included. */
  readonly lower: number | undefined;
  /** Excluded, or included in the last bucket of a percentage. */
  readonly upper: number | undefined;
  readonly count: number;
}

/** The fleet at a glance, without retired devices. */
export interface FleetStatus extends PresenceCounts {
  /** Most first, at most 100, as all lists here. */
  readonly firmwareVersions: readonly CountByName[];
  readonly deviceTypes: readonly CountByName[];
  readonly hardwareModels: readonly CountByName[];
  /** A device may be in several. */
  readonly groups: readonly CountByName[];
  readonly networkTypes: readonly CountByName[];
  readonly carriers: readonly CountByName[];
  readonly batteryPercent: readonly HistogramBucket[];
  readonly storageFreeBytes: readonly HistogramBucket[];
  readonly signalDbm: readonly HistogramBucket[];
  readonly updating: number;
  /** Devices with a heartbeat stream open to this replica. */
  readonly streaming: number;
  /** Durable on this replica, over the last ten seconds. */
  readonly heartbeatsPerSecond: number;
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
  readonly counters: Pick<FleetCounters, "read">;
  readonly updates: Pick<OpenUpdates, "openUpdateCount">;
  readonly streams: OpenStreams;
  readonly rate: { perSecond(): number };
  readonly clock: Clock;
}

/**
 * The fleet at a glance, from its counters: a millisecond or two, whatever its size. Callers at the same time share one
 * answer. What heartbeats changed in the last second may not be in it yet.
 */
export class StatusOverview {
  readonly #parts: StatusOverviewParts;
  #reading: Promise<FleetStatus> | undefined;

  constructor(parts: StatusOverviewParts) {
    this.#parts = parts;
  }

  /** The fleet's state now. */
  async get(): Promise<FleetStatus> {
    this.#reading ??= forEverybody(() => this.#read()).finally(() => {
      this.#reading = undefined;
    });
    return await this.#reading;
  }

  async #read(): Promise<FleetStatus> {
    const { clock, counters, rate, streams, updates } = this.#parts;
    const countedAt = clock.now();
    const [counts, updating] = await Promise.all([counters.read(countedAt), updates.openUpdateCount()]);
    return {
      ...statusOf(counts),
      updating,
      streaming: streams.size,
      heartbeatsPerSecond: rate.perSecond(),
      countedAt,
    };
  }
}

/** In ten steps of 10 percent. */
const batteryBounds = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100];

const mebibyte = 1024 ** 2;

const storageBounds = [0, 16, 64, 256, 1_024, 4_096, 16_384].map((size) => size * mebibyte);

const signalBounds = [-110, -100, -90, -80, -70, -60];

function statusOf(
  counts: readonly FleetCount[],
): Omit<FleetStatus, "updating" | "streaming" | "heartbeatsPerSecond" | "countedAt"> {
  const of = (dimension: string): FleetCount[] => counts.filter((each) => each.dimension === dimension);
  const named = (dimension: string): CountByName[] =>
    of(dimension).map(({ name = "", count }) => ({ name, count }));
  const histogram = (dimension: string, bounds: readonly (number | undefined)[]): HistogramBucket[] => {
    const found = new Map(of(dimension).map(({ number, count }) => [number, count]));
    return bounds
      .slice(0, -1)
      .map((lower, index) => ({ lower, upper: bounds[index + 1], count: found.get(index) ?? 0 }));
  };
  return {
    ...presenceCountsOf(counts),
    firmwareVersions: named("firmware_version"),
    deviceTypes: named("device_type"),
    hardwareModels: named("hardware_model"),
    groups: named("group"),
    networkTypes: named("network_type"),
    carriers: named("carrier"),
    batteryPercent: histogram("battery_percent", batteryBounds),
    storageFreeBytes: histogram("storage_free_bytes", [...storageBounds, undefined]),
    signalDbm: histogram("signal_dbm", [undefined, ...signalBounds, undefined]),
  };
}
