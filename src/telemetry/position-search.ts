import type pg from "pg";
import { asDatabaseError } from "../infra/database/errors.ts";
import type { DeviceSelection } from "./device-selection.ts";

/** A box on the map, in degrees. It crosses the 180th meridian if `west` is above `east`. */
export interface MapBox {
  readonly south: number;
  readonly west: number;
  readonly north: number;
  readonly east: number;
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
  readonly #pool: pg.Pool;
  readonly #devices: DeviceSelection;

  constructor(pool: pg.Pool, devices: DeviceSelection) {
    this.#pool = pool;
    this.#devices = devices;
  }

  /** The devices in a box that match a filter, or clusters of them if they are more than `maxDevices`. */
  async search(box: MapBox, filter: string, maxDevices: number): Promise<PositionsInBox> {
    const values: unknown[] = halvesOf(box).map((half) => boxText(half));
    const inBox = values.map((_half, index) => `p.position <@ $${index + 1}::box`).join(" OR ");
    const condition = filter === "" ? undefined : this.#devices.condition(filter, values.length + 1);
    values.push(...(condition?.values ?? []));
    const joined =
      condition === undefined
        ? ""
        : "JOIN devices d ON d.id = p.device_id LEFT JOIN device_state s ON s.device_id = p.device_id";
    const where = `(${inBox}) ${condition === undefined ? "" : `AND ${condition.sql}`}`;
    try {
      const { rows } = await this.#pool.query<PositionRow>(
        `SELECT p.*, p.position[0] AS longitude, p.position[1] AS latitude, n.serial_number
         FROM (
           SELECT p.* FROM device_positions p ${joined} WHERE ${where} LIMIT $${values.length + 1}
         ) p JOIN devices n ON n.id = p.device_id ORDER BY p.device_id`,
        [...values, maxDevices + 1],
      );
      if (rows.length <= maxDevices)
        return { totalCount: rows.length, devices: rows.map(positionOf), clusters: [] };
      const clusters = await this.#pool.query<PositionCluster>(
        clusterSql(joined, where, box, values.length),
        [...values, box.south, box.west, (box.north - box.south) / gridCells, widthOf(box) / gridCells],
      );
      const totalCount = clusters.rows.reduce((sum, { count }) => sum + count, 0);
      return { totalCount, devices: [], clusters: clusters.rows };
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
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

/** Longitudes east of the 180th meridian count on beyond 180 in a box that crosses it, so that a cell's middle is right. */
function clusterSql(joined: string, where: string, box: MapBox, before: number): string {
  const [south, west, height, width] = [1, 2, 3, 4].map((index) => `$${before + index}::float8`);
  const longitude =
    box.west > box.east
      ? `(p.position[0] + CASE WHEN p.position[0] < ${west} THEN 360 ELSE 0 END)`
      : "p.position[0]";
  return `
    SELECT avg(latitude) AS latitude, CASE WHEN avg(longitude) > 180 THEN avg(longitude) - 360 ELSE avg(longitude) END AS longitude,
      count(*)::integer AS count
    FROM (
      SELECT p.position[1] AS latitude, ${longitude} AS longitude FROM device_positions p ${joined} WHERE ${where}
    ) places
    GROUP BY least(floor((latitude - ${south}) / ${height}), ${gridCells - 1}),
      least(floor((longitude - ${west}) / ${width}), ${gridCells - 1})
    ORDER BY 1, 2`;
}

function widthOf({ west, east }: MapBox): number {
  return west > east ? east + 360 - west : Math.max(east - west, Number.MIN_VALUE);
}

/** One box, or the two on both sides of the 180th meridian. */
function halvesOf(box: MapBox): MapBox[] {
  if (box.west <= box.east) return [box];
  return [
    { ...box, east: 180 },
    { ...box, west: -180 },
  ];
}

function boxText({ south, west, north, east }: MapBox): string {
  return `(${west},${south}),(${east},${north})`;
}
