import { asDatabaseError } from "../infra/database/errors.ts";
import type { HeavyReader, HeavyReads } from "../infra/database/heavy-reads.ts";
import { Parameters } from "../infra/database/parameters.ts";
import { type Sql, sql } from "../infra/database/sql.ts";
import type { TimePartitions } from "../infra/database/time-partitions.ts";
import { oldestDeviceTime, placedHeartbeats, type TimeBasis } from "./time-basis.ts";

/** Where a device was. */
export interface TrackPoint {
  readonly latitude: number;
  readonly longitude: number;
  readonly accuracyMeters: number | undefined;
  readonly altitudeMeters: number | undefined;
  readonly fixTime: Date | undefined;
  readonly receivedAt: Date;
  /** When the device made it, if its clock can be right. */
  readonly madeAt: Date | undefined;
}

/** Which track to read. */
export interface TrackQuery {
  readonly deviceId: string;
  readonly from: Date;
  /** Exclusive. */
  readonly to: Date;
  readonly maxPoints: number;
  readonly basis: TimeBasis;
}

/** What a {@link TrackReader} is made of. */
export interface TrackReaderParts {
  readonly reads: Pick<HeavyReads, "for">;
  /** Says how long heartbeats are kept. */
  readonly heartbeats: Pick<TimePartitions, "firstKept">;
}

/** Reads where a device was. */
export class TrackReader {
  readonly #parts: TrackReaderParts;

  constructor(parts: TrackReaderParts) {
    this.#parts = parts;
  }

  /**
   * A device's positions from one time to before another, oldest first. More than `maxPoints` are thinned out to as many, with the
   * last one among them. Throws what {@link HeavyReads.for} throws.
   */
  async read(query: TrackQuery, reader: HeavyReader): Promise<TrackPoint[]> {
    const { reads, heartbeats } = this.#parts;
    const parameters = new Parameters();
    const statement = trackSql(query, oldestDeviceTime(heartbeats), parameters);
    try {
      const rows = await reads.for(reader).query<TrackRow>(statement, parameters.values);
      return rows.map((row) => ({
        latitude: row.latitude,
        longitude: row.longitude,
        accuracyMeters: row.accuracy_meters ?? undefined,
        altitudeMeters: row.altitude_meters ?? undefined,
        fixTime: row.fix_time ?? undefined,
        receivedAt: row.received_at,
        madeAt: row.made_at ?? undefined,
      }));
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }
}

interface TrackRow {
  readonly received_at: Date;
  readonly made_at: Date | null;
  readonly latitude: number;
  readonly longitude: number;
  readonly accuracy_meters: number | null;
  readonly altitude_meters: number | null;
  readonly fix_time: Date | null;
}

/** Of each of as many parts as asked for, by the order of the points, the last one stays. */
function trackSql(query: TrackQuery, oldest: Date, parameters: Parameters): Sql {
  const where = sql`device_id = ${parameters.add(query.deviceId, "uuid")} AND latitude IS NOT NULL AND longitude IS NOT NULL`;
  const most = parameters.add(query.maxPoints, "bigint");
  return sql`
    WITH points AS (
      SELECT at, received_at, made_at, epoch, sequence, latitude, longitude, accuracy_meters, altitude_meters, fix_time,
        count(*) OVER () AS total, row_number() OVER (ORDER BY at, epoch, sequence) AS place
      FROM ${placedHeartbeats({ ...query, oldest, where }, parameters)} placed
    )
    SELECT received_at, made_at, latitude, longitude, accuracy_meters, altitude_meters, fix_time FROM points
    WHERE total <= ${most} OR place * ${most} / total > (place - 1) * ${most} / total
    ORDER BY place`;
}
