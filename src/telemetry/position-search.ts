import { asDatabaseError } from "../infra/database/errors.ts";
import type { HeavyReader, HeavyReads } from "../infra/database/heavy-reads.ts";
import { Parameters } from "../infra/database/parameters.ts";
import { joined, type Sql, sql } from "../infra/database/sql.ts";
import type { DeviceSelection } from "./device-selection.ts";

/** A box on the map, in degrees. It crosses the 180th meridian if `west` is above `east`. */
export interface MapBox {
  readonly south: number;
  readonly west: number;
  readonly north: number;
  readonly east: number;
}

/** Which devices to find. */
export interface PositionQuery {
  readonly box: MapBox;
  /** Empty for all devices. */
  readonly filter: string;
  /** More come as clusters. */
  readonly maxDevices: number;
}

/** Where one device is. */
interface DevicePosition {
  readonly deviceId: string;
  readonly serialNumber: string;
  readonly latitude: number;
  readonly longitude: number;
  readonly accuracyMeters: number | undefined;
  readonly altitudeMeters: number | undefined;
  readonly fixTime: Date | undefined;
  readonly receivedAt: Date;
}

/** Devices that are near to each other, by the middle of them. */
interface PositionCluster {
  readonly latitude: number;
  readonly longitude: number;
  readonly count: number;
}

/** What is in a box: either each device, or clusters. */
export interface PositionsInBox {
  readonly totalCount: number;
  readonly devices: readonly DevicePosition[];
  readonly clusters: readonly PositionCluster[];
}

/** Finds devices by where they are. */
export class PositionSearch {
  readonly #reads: Pick<HeavyReads, "for">;
  readonly #devices: DeviceSelection;

  constructor(reads: Pick<HeavyReads, "for">, devices: DeviceSelection) {
    this.#reads = reads;
    this.#devices = devices;
  }

  /** The devices in a box that match a filter, or clusters of them if they are more than `maxDevices`. */
  async search({ box, filter, maxDevices }: PositionQuery, reader: HeavyReader): Promise<PositionsInBox> {
    const session = this.#reads.for(reader);
    const parameters = new Parameters();
    const places = this.#places(box, filter, parameters);
    try {
      const rows = await session.query<PositionRow>(
        devicesSql(places, parameters.add(maxDevices + 1, "int")),
        parameters.values,
      );
      if (rows.length <= maxDevices)
        return { totalCount: rows.length, devices: rows.map(positionOf), clusters: [] };
      const forClusters = new Parameters();
      const clusters = await session.query<PositionCluster>(
        clusterSql(this.#places(box, filter, forClusters), box, forClusters),
        forClusters.values,
      );
      const totalCount = clusters.reduce((sum, { count }) => sum + count, 0);
      return { totalCount, devices: [], clusters };
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }

  #places(box: MapBox, filter: string, parameters: Parameters): Places {
    const halves = halvesOf(box).map((half) => sql`p.position <@ ${parameters.add(boxText(half), "box")}`);
    const inBox = sql`(${joined(halves, sql` OR `)})`;
    if (filter === "") return { joins: sql``, where: inBox };
    return {
      joins: sql`JOIN devices d ON d.id = p.device_id LEFT JOIN device_state s ON s.device_id = p.device_id`,
      where: sql`${inBox} AND ${this.#devices.condition(filter, parameters)}`,
    };
  }
}

/** The grid of clusters has this many cells each way. */
const gridCells = 32;

interface PositionRow {
  readonly device_id: string;
  readonly serial_number: string;
  readonly latitude: number;
  readonly longitude: number;
  readonly accuracy_meters: number | null;
  readonly altitude_meters: number | null;
  readonly fix_time: Date | null;
  readonly received_at: Date;
}

function positionOf(row: PositionRow): DevicePosition {
  return {
    deviceId: row.device_id,
    serialNumber: row.serial_number,
    latitude: row.latitude,
    longitude: row.longitude,
    accuracyMeters: row.accuracy_meters ?? undefined,
    altitudeMeters: row.altitude_meters ?? undefined,
    fixTime: row.fix_time ?? undefined,
    receivedAt: row.received_at,
  };
}

/** Which positions to look at. */
interface Places {
  readonly joins: Sql;
  readonly where: Sql;
}

function devicesSql({ joins, where }: Places, limit: Sql): Sql {
  return sql`
    SELECT p.*, p.position[0] AS longitude, p.position[1] AS latitude, n.serial_number
    FROM (
      SELECT p.* FROM device_positions p ${joins} WHERE ${where} LIMIT ${limit}
    ) p JOIN devices n ON n.id = p.device_id ORDER BY p.device_id`;
}

/** Longitudes beyond the 180th meridian count on beyond 180 in a box that reaches it, so that a cell's middle is right. */
function clusterSql({ joins, where }: Places, box: MapBox, parameters: Parameters): Sql {
  const south = parameters.add(box.south, "double precision");
  const west = parameters.add(box.west, "double precision");
  const height = parameters.add((box.north - box.south) / gridCells, "double precision");
  const width = parameters.add(widthOf(box) / gridCells, "double precision");
  const longitude = sql`(p.position[0] + CASE WHEN p.position[0] < ${west} THEN 360 ELSE 0 END)`;
  return sql`
    SELECT avg(latitude) AS latitude, CASE WHEN avg(longitude) >= 180 THEN avg(longitude) - 360 ELSE avg(longitude) END AS longitude,
      count(*)::integer AS count
    FROM (
      SELECT p.position[1] AS latitude, ${longitude} AS longitude FROM device_positions p ${joins} WHERE ${where}
    ) places
    GROUP BY least(floor((latitude - ${south}) / ${height}), ${gridCells - 1}),
      least(floor((longitude - ${west}) / ${width}), ${gridCells - 1})
    ORDER BY 1, 2`;
}

function widthOf({ west, east }: MapBox): number {
  return west > east ? east + 360 - west : Math.max(east - west, narrowest);
}

/** In degrees: a millimetre. A grid over nothing would divide by zero. */
const narrowest = 1e-8;

/** One box, or the two on both sides of the 180th meridian. */
function halvesOf(box: MapBox): MapBox[] {
  if (box.west <= box.east && box.east < 180) return [box];
  // Up to the meridian itself: what lies on it is written down as -180.
  if (box.west <= box.east) return [box, { ...box, west: -180, east: -180 }];
  return [
    { ...box, east: 180 },
    { ...box, west: -180 },
  ];
}

function boxText({ south, west, north, east }: MapBox): string {
  return `(${west},${south}),(${east},${north})`;
}
