import type { ListPosition } from "../call/list-page.ts";
import type { DurableHeartbeat } from "../device/state/heartbeat-record.ts";
import { BatchWriter } from "../infra/background/batch-writer.ts";
import type { Clock } from "../infra/clock.ts";
import { asDatabaseError, isDataError } from "../infra/database/errors.ts";
import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import type { Logger } from "../infra/logger.ts";
import { builtInMetrics, customPrefix } from "./built-in-metrics.ts";

/** What a {@link MetricCatalogue} is made of. */
export interface MetricCatalogueParts {
  readonly pool: Session;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Counts sightings that the limits left out. */
  readonly overflow: { inc(): void };
}

/** A metric that exists. */
export interface CatalogueMetric {
  /** As series take it. */
  readonly name: string;
  /** For people. */
  readonly words: string;
  readonly builtIn: boolean;
  readonly unit: string;
  /** The types of the devices that send it, in order; empty for built-in ones. */
  readonly deviceTypes: readonly string[];
  /** Undefined for built-in ones, as the other one. */
  readonly firstSeen: Date | undefined;
  readonly lastSeen: Date | undefined;
}

/**
 * Knows which custom metrics the devices of each type have sent. It looks at one heartbeat of each device a minute, and
 * writes each metric of a type at most once a minute.
 */
export class MetricCatalogue implements AsyncDisposable {
  /** A heartbeat with metrics of each device that was not looked at in this minute. */
  readonly writer: BatchWriter<SeenMetrics>;
  readonly #parts: MetricCatalogueParts;
  #seenDevices = new Set<string>();
  #seenSince = Number.NEGATIVE_INFINITY;
  /** By type and name the minute that the database knows. */
  readonly #written = new Map<string, Map<string, number>>();

  constructor(parts: MetricCatalogueParts) {
    this.#parts = parts;
    this.writer = new BatchWriter({
      name: "metric_catalogue",
      keyOf: ({ deviceId }) => deviceId,
      write: (seen) => this.#note(seen),
      maxRows: maxWaiting,
      lingerMs: flushMs,
      maxWaiting,
      isBadRow: isDataError,
      // It is seen again with the next heartbeats.
      onOutage: "drop",
      clock: parts.clock,
      logger: parts.logger,
    });
  }

  /** Is told of what was stored. */
  observe(records: readonly DurableHeartbeat[]): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (nowMs - this.#seenSince >= minuteMs) {
      this.#seenDevices = new Set();
      this.#seenSince = nowMs;
    }
    for (const { deviceId, metrics, receivedAt } of records) {
      if (metrics === undefined || this.#seenDevices.has(deviceId)) continue;
      // Beyond the limits a device waits for a later minute: others of its type speak for it.
      if (this.writer.size >= maxWaiting || this.#seenDevices.size >= maxSeen) return;
      this.#seenDevices.add(deviceId);
      this.writer.add({ deviceId, names: Object.keys(metrics), atMs: receivedAt.getTime() });
    }
  }

  /** Writes what is new now. If that fails it is seen again with the next heartbeats. */
  flush(): Promise<void> {
    return this.writer.flush();
  }

  /**
   * The metrics, built-in ones first, each by name. With a device type the custom ones that devices of it send. Positions
   * are names.
   */
  async list(deviceType: string, { limit, after }: ListPosition): Promise<CatalogueMetric[]> {
    const isCustom = after?.startsWith(customPrefix) ?? false;
    const builtIn = isCustom
      ? []
      : builtInMetrics
          .filter(({ name }) => after === undefined || name > after)
          .map(({ name, words, unit }) => ({
            name,
            words,
            unit,
            builtIn: true,
            deviceTypes: [],
            firstSeen: undefined,
            lastSeen: undefined,
          }));
    if (builtIn.length >= limit) return builtIn.slice(0, limit);
    try {
      const rows = await this.#parts.pool.query<CustomRow>(customSql, [
        isCustom ? (after ?? "").slice(customPrefix.length) : "",
        deviceType,
        limit - builtIn.length,
      ]);
      const custom = rows.map(({ name, types, first, last }) => ({
        name: `${customPrefix}${name}`,
        words: name,
        unit: "",
        builtIn: false,
        deviceTypes: types,
        firstSeen: first,
        lastSeen: last,
      }));
      return [...builtIn, ...custom];
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }

  /** Writes what waits and stops. May be called more than once. */
  close(): Promise<void> {
    return this.writer.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #note(seenMetrics: readonly SeenMetrics[]): Promise<void> {
    const types = await this.#parts.pool.query<{ id: string; device_type: string }>(typesSql, [
      seenMetrics.map(({ deviceId }) => deviceId),
    ]);
    const typeOf = new Map(types.map(({ id, device_type: type }) => [id, type]));
    const due = new Map<string, { type: string; name: string; minute: number }>();
    const reread = new Set<string>();
    for (const seen of seenMetrics) {
      const type = typeOf.get(seen.deviceId);
      if (type === undefined) continue;
      let known = await this.#knownOf(type);
      // What is new here may be known to other replicas, and they may have filled the type up: the limit is one for all.
      if (known !== undefined && !reread.has(type) && hasNew(seen.names, known)) {
        reread.add(type);
        this.#written.delete(type);
        known = await this.#knownOf(type);
      }
      const minute = Math.floor(seen.atMs / minuteMs);
      for (const name of seen.names) {
        const before = known?.get(name);
        if (known === undefined || (before === undefined && known.size >= maxNamesPerType)) {
          this.#leaveOut(type, name);
          continue;
        }
        if (before !== undefined && before >= minute) continue;
        known.set(name, minute);
        due.set(JSON.stringify([type, name]), { type, name, minute });
      }
    }
    if (due.size > 0) await this.#write([...due.values()]);
  }

  /** What the database has of a type; undefined if there are too many types. */
  async #knownOf(type: string): Promise<Map<string, number> | undefined> {
    const known = this.#written.get(type);
    if (known !== undefined) return known;
    if (this.#written.size >= maxTypes) return undefined;
    const rows = await this.#parts.pool.query<{ name: string; last: Date }>(knownSql, [type]);
    const read = new Map(rows.map(({ name, last }) => [name, Math.floor(last.getTime() / minuteMs)]));
    this.#written.set(type, read);
    return read;
  }

  async #write(due: readonly { type: string; name: string; minute: number }[]): Promise<void> {
    try {
      // In order, so that two replicas cannot stop each other.
      const rows = due.toSorted((a, b) => (a.type + a.name < b.type + b.name ? -1 : 1));
      await this.#parts.pool.run(writeSql, [
        rows.map(({ type }) => type),
        rows.map(({ name }) => name),
        rows.map(({ minute }) => new Date(minute * minuteMs).toISOString()),
      ]);
    } catch (error) {
      for (const { type } of due) this.#written.delete(type);
      throw error;
    }
  }

  #leaveOut(type: string, name: string): void {
    this.#parts.overflow.inc();
    this.#parts.logger.debug({ deviceType: type, metric: name }, "a metric beyond the limit is not listed");
  }
}

/** The metrics of a heartbeat. */
interface SeenMetrics {
  readonly deviceId: string;
  readonly names: readonly string[];
  readonly atMs: number;
}

/** Whether there are names that could be listed and are not. */
function hasNew(names: readonly string[], known: ReadonlyMap<string, number>): boolean {
  return known.size < maxNamesPerType && names.some((name) => !known.has(name));
}

/**
 * Names of one type that are listed, of all replicas together, but for what two of them find in the same moment. A device
 * that makes names up, with a time in them for example, has endless ones.
 */
const maxNamesPerType = 1_000;

/** Types whose metrics are listed. */
const maxTypes = 1_000;

/** Devices that one write looks at, in {@link flushMs}. */
const maxWaiting = 2_000;

/** Devices that are looked at in a minute, at some 100 bytes each. */
const maxSeen = 50_000;

const flushMs = 2_000;
const minuteMs = 60_000;

interface CustomRow {
  readonly name: string;
  readonly types: string[];
  readonly first: Date;
  readonly last: Date;
}

const typesSql = sql`SELECT id, device_type FROM devices WHERE id = ANY($1::uuid[])`;

const customSql = sql`
  SELECT name, array_agg(device_type ORDER BY device_type) AS types, min(first_seen_at) AS first, max(last_seen_at) AS last
  FROM device_metrics
  WHERE name COLLATE "C" > $1 AND ($2 = '' OR name IN (SELECT name FROM device_metrics WHERE device_type = $2))
  GROUP BY name ORDER BY name COLLATE "C" LIMIT $3`;

const knownSql = sql`SELECT name, last_seen_at AS last FROM device_metrics WHERE device_type = $1`;

const writeSql = sql`
  INSERT INTO device_metrics (device_type, name, first_seen_at, last_seen_at)
  SELECT type, name, at, at FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS t (type, name, at)
  ON CONFLICT (device_type, name) DO UPDATE SET last_seen_at = excluded.last_seen_at
  WHERE device_metrics.last_seen_at < excluded.last_seen_at`;
