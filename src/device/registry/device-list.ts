import type { Pool } from "pg";
import type { ListPosition } from "../../call/list-page.ts";
import { OtaError } from "../../errors.ts";
import type { DeviceFilter } from "../filter/device-filter.ts";
import { compileFilterSql, type FilterSqlOptions } from "../filter/filter-sql.ts";
import { type DeviceDetails, type DeviceDetailsRow, detailsOf, selectDetails } from "./device-details.ts";

/** Which devices to list. All given conditions must hold; an empty list is no condition. */
export interface DeviceQuery {
  readonly deviceTypes: readonly string[];
  readonly hardwareModels: readonly string[];
  /** In at least one of these. */
  readonly groups: readonly string[];
  readonly firmwareVersions: readonly string[];
  readonly serialNumberPrefix: string;
  readonly showRetired: boolean;
  readonly filter: DeviceFilter;
  readonly order: DeviceOrder;
}

/** How a list of devices is sorted; devices with equal values, or none, by their ids. */
export interface DeviceOrder {
  readonly by: keyof typeof orderColumns;
  readonly descending: boolean;
}

/** A device of a list with its place there, from which the next page begins. */
export interface ListedDevice {
  readonly device: DeviceDetails;
  readonly place: string;
}

/** Reads `order_by` (https://google.aip.dev/132#ordering); newest first if it is empty. Throws `INVALID_REQUEST`. */
export function parseDeviceOrder(text: string): DeviceOrder {
  if (text.trim() === "") return { by: "create_time", descending: true };
  const { by, direction } = /^\s*(?<by>\w+)(?:\s+(?<direction>asc|desc))?\s*$/.exec(text)?.groups ?? {};
  if (by !== undefined && isOrdered(by)) return { by, descending: direction === "desc" };
  const description = `must be one of ${Object.keys(orderColumns).join(", ")}, with or without " desc"`;
  throw new OtaError("invalid_argument", "INVALID_REQUEST", `order_by: ${description}`, {
    fields: [{ field: "order_by", description }],
    metadata: { field: "order_by" },
  });
}

/**
 * Reads a page of devices. By creation and by serial number it walks an index; by a reading it sorts what matches, because
 * an index on what every heartbeat changes would cost each of them more than the lists are worth. Devices without that
 * reading come last.
 */
export async function listDevices(
  pool: Pool,
  query: DeviceQuery,
  { limit, after }: ListPosition,
  options: FilterSqlOptions,
): Promise<ListedDevice[]> {
  const values: unknown[] = [];
  const parameter = (value: unknown, type: string): string => {
    values.push(value);
    return `$${values.length}::${type}`;
  };
  const conditions: string[] = [];
  if (!query.showRetired) conditions.push("NOT d.is_deleted");
  if (query.deviceTypes.length > 0)
    conditions.push(`d.device_type = ANY(${parameter(query.deviceTypes, "text[]")})`);
  if (query.hardwareModels.length > 0)
    conditions.push(`d.hardware_model = ANY(${parameter(query.hardwareModels, "text[]")})`);
  if (query.groups.length > 0) conditions.push(`d.groups && ${parameter(query.groups, "text[]")}`);
  if (query.firmwareVersions.length > 0)
    conditions.push(`s.firmware_version = ANY(${parameter(query.firmwareVersions, "text[]")})`);
  if (query.serialNumberPrefix !== "")
    conditions.push(`(d.serial_number COLLATE "C") ^@ ${parameter(query.serialNumberPrefix, "text")}`);
  if (query.filter.kind !== "all") {
    const compiled = compileFilterSql(query.filter, { ...options, firstParameter: values.length + 1 });
    values.push(...compiled.values);
    conditions.push(compiled.sql);
  }
  if (after !== undefined) conditions.push(behind(query.order, after, parameter));
  const { column } = orderColumns[query.order.by];
  const direction = query.order.descending ? "DESC" : "ASC";
  const sorted =
    column === "d.id" ? "" : `${column} ${direction}${hasGaps(query.order) ? " NULLS LAST" : ""},`;
  // The page is found by narrow rows, which a sort of the whole fleet keeps in memory, and filled in afterwards.
  const { rows } = await pool.query<DeviceDetailsRow & { readonly order_key: string | null }>(
    `${selectDetails("page.order_value::text AS order_key")}
       JOIN (SELECT d.id, ${column} AS order_value FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
             ${conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`}
             ORDER BY ${sorted} d.id ${direction} LIMIT ${parameter(limit, "int")}) AS page ON page.id = d.id
      ORDER BY ${sorted} d.id ${direction}`,
    values,
  );
  return rows.map((row) => ({
    device: detailsOf(row),
    place: query.order.by === "create_time" ? row.id : placeOf(row.id, row.order_key),
  }));
}

/** Counts the devices in service that match. */
export async function countDevices(
  pool: Pool,
  filter: DeviceFilter,
  options: FilterSqlOptions,
): Promise<number> {
  const { sql, values } = compileFilterSql(filter, options);
  const { rows } = await pool.query<{ count: string }>(
    `SELECT count(*) FROM devices d LEFT JOIN device_state s ON s.device_id = d.id WHERE NOT d.is_deleted AND ${sql}`,
    [...values],
  );
  return Number(rows[0]?.count ?? 0);
}

/** The ids are in the order of creation. */
const orderColumns = {
  create_time: { column: "d.id", type: "uuid" },
  serial_number: { column: 'd.serial_number COLLATE "C"', type: "text" },
  last_seen_time: { column: "s.last_seen_at", type: "timestamptz" },
  battery_percent: { column: "s.battery_percent", type: "real" },
} as const;

function isOrdered(name: string): name is DeviceOrder["by"] {
  return Object.hasOwn(orderColumns, name);
}

/** Whether devices may lack what the list is sorted by. */
function hasGaps({ by }: DeviceOrder): boolean {
  return by === "last_seen_time" || by === "battery_percent";
}

/** Ids are of one length, so the value needs no escape; without one there is no blank. */
function placeOf(id: string, value: string | null): string {
  return value === null ? id : `${id} ${value}`;
}

/** The condition for what comes behind a place. */
function behind(
  order: DeviceOrder,
  place: string,
  parameter: (value: unknown, type: string) => string,
): string {
  const { column, type } = orderColumns[order.by];
  const beyond = order.descending ? "<" : ">";
  const blank = place.indexOf(" ");
  const id = parameter(blank < 0 ? place : place.slice(0, blank), "uuid");
  if (column === "d.id") return `d.id ${beyond} ${id}`;
  if (blank < 0) return `(${column} IS NULL AND d.id ${beyond} ${id})`;
  const value = parameter(place.slice(blank + 1), type);
  const follows = `(${column}, d.id) ${beyond} (${value}, ${id})`;
  return hasGaps(order) ? `(${follows} OR ${column} IS NULL)` : follows;
}
