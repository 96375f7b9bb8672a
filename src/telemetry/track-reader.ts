import { asDatabaseError } from "../infra/database/errors.ts";
import type { HeavyReader, HeavyReads } from "../infra/database/heavy-reads.ts";
import { sql } from "../infra/database/sql.ts";

/** Where a device was. */
export interface TrackPoint {
  readonly latitude: number;
  readonly longitude: number;
  readonly accuracyMeters: number | undefined;
  readonly altitudeMeters: number | undefined;
  readonly fixTime: Date | undefined;
  readonly receivedAt: Date;
}

/** Which track to read. */
export interface TrackQuery {
  readonly deviceId: string;
  readonly from: Date;
  /** Exclusive. */
  readonly to: Date;
  readonly maxPoints: number;
}

/** Reads where a device was. */
export class TrackReader {
  readonly #reads: Pick<HeavyReads, "for">;

  constructor(reads: Pick<HeavyReads, "for">) {
    this.#reads = reads;
  }

  /**
   * A device's positions from one time to before another, oldest first. More than `maxPoints` are thinned out: the time
   * between the first and the last is cut into that many equal parts, and of each the last point stays.
   */
  async read({ deviceId, from, to, maxPoints }: TrackQuery, reader: HeavyReader): Promise<TrackPoint[]> {
    try {
      const rows = await this.#reads
        .for(reader)
        .query<TrackRow>(trackSql, [deviceId, from.toISOString(), to.toISOString(), maxPoints]);
      return rows.map((row) => ({
        latitude: row.latitude,
        longitude: row.longitude,
        accuracyMeters: row.accuracy_meters ?? undefined,
        altitudeMeters: row.altitude_meters ?? undefined,
        fixTime: row.fix_time ?? undefined,
        receivedAt: row.received_at,
      }));
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }
}

interface TrackRow {
  readonly received_at: Date;
  readonly latitude: number;
  readonly longitude: number;
  readonly accuracy_meters: number | null;
  readonly altitude_meters: number | null;
  readonly fix_time: Date | null;
}

const trackSql = sql`
  WITH points AS (
    SELECT received_at, sequence, latitude, longitude, accuracy_meters, altitude_meters, fix_time,
      count(*) OVER () AS total,
      extract(epoch FROM received_at - min(received_at) OVER ()) AS since,
      extract(epoch FROM max(received_at) OVER () - min(received_at) OVER ()) AS span
    FROM device_heartbeats
    WHERE device_id = $1 AND received_at >= $2 AND received_at < $3 AND latitude IS NOT NULL AND longitude IS NOT NULL
  ), ranked AS (
    SELECT *, row_number() OVER (
      PARTITION BY CASE WHEN span = 0 THEN 0 ELSE least(floor(since / span * $4::integer), $4::integer - 1) END
      ORDER BY received_at DESC, sequence DESC
    ) AS rank
    FROM points
  )
  SELECT received_at, latitude, longitude, accuracy_meters, altitude_meters, fix_time FROM ranked
  WHERE total <= $4::integer OR rank = 1
  ORDER BY received_at, sequence`;
