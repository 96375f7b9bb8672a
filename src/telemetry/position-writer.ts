import type { EntityManager } from "@mikro-orm/postgresql";
import type { DeviceIdentityObserver } from "../device/registry/identity-observer.ts";
import type { DurableHeartbeat } from "../device/state/heartbeat-record.ts";
import { newcomersLocked, withNewcomers } from "../device/state/newcomers.ts";
import { BatchWriter } from "../infra/background/batch-writer.ts";
import type { Clock } from "../infra/clock.ts";
import { isDataError } from "../infra/database/errors.ts";
import { type Session, sessionOf } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import type { Logger } from "../infra/logger.ts";
import { type Cacheable, SecondChanceCache } from "../infra/second-chance-cache.ts";

/** What a {@link PositionWriter} is made of. */
export interface PositionWriterParts {
  readonly pool: Session;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Keeps device_positions, the table that the map is drawn from, with far fewer writes than there are heartbeats: a device's
 * row is written when it moved {@link movedMeters} or was last written {@link refreshMs} ago. Many devices share a statement.
 */
export class PositionWriter implements AsyncDisposable {
  readonly writer: BatchWriter<DurableHeartbeat>;
  readonly #pool: Session;
  readonly #written = new SecondChanceCache<WrittenPosition>(maxRemembered);

  constructor({ pool, clock, logger }: PositionWriterParts) {
    this.#pool = pool;
    this.writer = new BatchWriter({
      name: "positions",
      keyOf: ({ deviceId }) => deviceId,
      write: (rows) => this.#write(rows),
      maxRows: maxRowsPerStatement,
      lingerMs: flushMs,
      // Past the limit a position is older than it could be, until the device's next heartbeat.
      maxWaiting,
      isBadRow: isDataError,
      onOutage: "drop",
      clock,
      logger,
    });
  }

  /** Is told of what was stored. */
  observe(records: readonly DurableHeartbeat[]): void {
    for (const record of records) {
      const { deviceId, latitude, longitude, backlog } = record;
      if (latitude === undefined || longitude === undefined || backlog === true) continue;
      const written = this.#written.get(deviceId);
      const atMs = record.receivedAt.getTime();
      if (
        written !== undefined &&
        atMs - written.atMs < refreshMs &&
        metersBetween(written, { latitude, longitude }) < movedMeters
      )
        continue;
      this.writer.add(record);
    }
  }

  /** Writes what waits now. If that fails the next heartbeats bring it again. */
  flush(): Promise<void> {
    return this.writer.flush();
  }

  /** Writes what waits and stops. May be called more than once. */
  close(): Promise<void> {
    return this.writer.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #write(rows: readonly DurableHeartbeat[]): Promise<void> {
    await this.#pool.run(writePositionsSql, [
      rows.map(({ deviceId }) => deviceId),
      rows.map(({ receivedAt }) => receivedAt.toISOString()),
      rows.map(({ longitude = 0 }) => oneMeridian(longitude)),
      rows.map(({ latitude }) => latitude),
      rows.map(({ accuracyMeters }) => accuracyMeters ?? null),
      rows.map(({ altitudeMeters }) => altitudeMeters ?? null),
      rows.map(({ fixTime }) => fixTime?.toISOString() ?? null),
    ]);
    for (const { deviceId, latitude = 0, longitude = 0, receivedAt } of rows)
      this.#written.set(deviceId, { latitude, longitude, atMs: receivedAt.getTime(), used: false });
  }
}

/** 180 and -180 degrees are the same place: here it is -180. */
function oneMeridian(longitude: number): number {
  return longitude === 180 ? -180 : longitude;
}

/** Takes a device off the map in the transaction that retires it. */
export class RetiredDevicePositions {
  async deviceRetired(em: EntityManager, { id }: { readonly id: string }): Promise<void> {
    await sessionOf(em).run(deleteSql, [id]);
  }
}

/** Takes the board before off the map: where the new one is it has not told. */
export class ReplacedDevicePositions implements DeviceIdentityObserver {
  async boardReplaced(em: EntityManager, deviceId: string): Promise<void> {
    await sessionOf(em).run(deleteSql, [deviceId]);
  }

  async identityCorrected(): Promise<void> {
    // It is where it was.
  }
}

const deleteSql = sql`DELETE FROM device_positions WHERE device_id = $1`;

/** A position of this accuracy is what satellites give in a town. */
const movedMeters = 25;

/** How old the time of a device that stands still may be on the map. */
const refreshMs = 10 * 60_000;

const flushMs = 1_000;
const maxRowsPerStatement = 2_000;
const maxWaiting = 200_000;

/** Devices whose last written position is remembered, at some 100 bytes each; others are written with each heartbeat. */
const maxRemembered = 300_000;

interface WrittenPosition extends Cacheable {
  readonly latitude: number;
  readonly longitude: number;
  readonly atMs: number;
}

/** Only of devices that are not retired, and forward only: what another replica wrote later stays. */
const writePositionsSql = sql`
  ${withNewcomers(sql`device_positions`)}
  INSERT INTO device_positions (device_id, received_at, position, accuracy_meters, altitude_meters, fix_time)
  SELECT d.id, t.received_at, point(t.longitude, t.latitude), t.accuracy, t.altitude, t.fix_time
  FROM unnest($1::uuid[], $2::timestamptz[], $3::float8[], $4::float8[], $5::real[], $6::real[], $7::timestamptz[])
    AS t (device_id, received_at, longitude, latitude, accuracy, altitude, fix_time)
  JOIN devices d ON d.id = t.device_id AND NOT d.is_deleted
  WHERE ${newcomersLocked}
  ORDER BY d.id
  ON CONFLICT (device_id) DO UPDATE SET received_at = excluded.received_at,
    position = CASE WHEN device_positions.position ~= excluded.position THEN device_positions.position ELSE excluded.position END,
    accuracy_meters = excluded.accuracy_meters, altitude_meters = excluded.altitude_meters, fix_time = excluded.fix_time
  WHERE device_positions.received_at < excluded.received_at`;

/** On a plane that touches the earth there: exact enough for some metres, and cheap. */
function metersBetween(
  a: { readonly latitude: number; readonly longitude: number },
  b: { readonly latitude: number; readonly longitude: number },
): number {
  const degrees = Math.abs(b.longitude - a.longitude);
  const east = Math.min(degrees, 360 - degrees) * Math.cos((a.latitude * Math.PI) / 180);
  return Math.hypot(b.latitude - a.latitude, east) * metersPerDegree;
}

const metersPerDegree = 111_195;
