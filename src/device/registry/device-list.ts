import type { ListPosition } from "../../call/list-page.ts";
import { OtaError } from "../../errors.ts";
import { Parameters } from "../../infra/database/parameters.ts";
import type { ReadSession } from "../../infra/database/session.ts";
import { allOf, type Sql, sql } from "../../infra/database/sql.ts";
import type { DeviceFilter } from "../filter/device-filter.ts";
import { compileFilterSql } from "../filter/filter-sql.ts";
import type { PresenceMoment } from "../state/presence-sql.ts";
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
  session: ReadSession,
  query: DeviceQuery,
  { limit, after }: ListPosition,
  moment: PresenceMoment,
): Promise<ListedDevice[]> {
  const parameters = new Parameters();
  const conditions: Sql[] = [];
  if (!query.showRetired) conditions.push(sql`NOT d.is_deleted`);
  if (query.deviceTypes.length > 0)
    conditions.push(sql`d.device_type = ANY(${parameters.add(query.deviceTypes, "text[]")})`);
  if (query.hardwareModels.length > 0)
    conditions.push(
      sql`d.hardware_model = ANY(ARRAY(SELECT unnest(model_names(${parameters.add(query.hardwareModels, "text[]")}))))`,
    );
  if (query.groups.length > 0) conditions.push(sql`d.groups && ${parameters.add(query.groups, "text[]")}`);
  if (query.firmwareVersions.length > 0)
    conditions.push(runsOneOf(query.showRetired, parameters.add(query.firmwareVersions, "text[]")));
  if (query.serialNumberPrefix !== "")
    conditions.push(
      sql`(d.serial_number COLLATE "C") ^@ ${parameters.add(query.serialNumberPrefix, "text")}`,
    );
  if (query.filter.kind !== "all") conditions.push(compileFilterSql(query.filter, parameters, moment));
  if (after !== undefined) conditions.push(behind(query.order, after, parameters));
  const { column } = orderColumns[query.order.by];
  const direction = query.order.descending ? sql`DESC` : sql`ASC`;
  const last = hasGaps(query.order) ? sql` NULLS LAST` : sql``;
  const sorted = query.order.by === "create_time" ? sql`` : sql`${column} ${direction}${last},`;
  // The page is found by narrow rows, which a sort of the whole fleet keeps in memory, and filled in afterwards.
  const rows = await session.query<DeviceDetailsRow & { readonly order_key: string | null }>(
    sql`${selectDetails(sql`page.order_value::text AS order_key`)}
       JOIN (SELECT d.id, ${column} AS order_value FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
             WHERE ${allOf(conditions)}
             ORDER BY ${sorted} d.id ${direction} LIMIT ${parameters.add(limit, "int")}) AS page ON page.id = d.id
      ORDER BY ${sorted} d.id ${direction}`,
    parameters.values,
  );
  return rows.map((row) => ({
    device: detailsOf(row),
    place: query.order.by === "create_time" ? row.id : placeOf(row.id, row.order_key),
  }));
}

/**
 * Whether a page costs no more than it holds: it walks an index from its place on, and nothing that it meets there is left out
 * but what is retired.
 */
export function isWalk(query: DeviceQuery): boolean {
  const { deviceTypes, hardwareModels, groups, firmwareVersions, serialNumberPrefix, filter, order } = query;
  const lists = [deviceTypes, hardwareModels, groups, firmwareVersions];
  return (
    filter.kind === "all" &&
    serialNumberPrefix === "" &&
    lists.every((wanted) => wanted.length === 0) &&
    !hasGaps(order)
  );
}

/** Counts the devices in service that match. */
export async function countDevices(
  session: ReadSession,
  filter: DeviceFilter,
  moment: PresenceMoment,
): Promise<number> {
  const parameters = new Parameters();
  const [row] = await session.query<{ count: string }>(
    sql`SELECT count(*) FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
        WHERE NOT d.is_deleted AND ${compileFilterSql(filter, parameters, moment)}`,
    parameters.values,
  );
  return Number(row?.count ?? 0);
}

/** The ids are in the order of creation. */
const orderColumns = {
  create_time: { column: sql`d.id`, type: "uuid" },
  serial_number: { column: sql`d.serial_number COLLATE "C"`, type: "text" },
  last_seen_time: { column: sql`s.last_seen_at`, type: "timestamptz" },
  battery_percent: { column: sql`s.battery_percent`, type: "real" },
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
function behind(order: DeviceOrder, place: string, parameters: Parameters): Sql {
  const { column, type } = orderColumns[order.by];
  const beyond = order.descending ? sql`<` : sql`>`;
  const blank = place.indexOf(" ");
  const id = parameters.add(blank < 0 ? place : place.slice(0, blank), "uuid");
  if (order.by === "create_time") return sql`d.id ${beyond} ${id}`;
  if (blank < 0) return sql`(${column} IS NULL AND d.id ${beyond} ${id})`;
  const value = parameters.add(place.slice(blank + 1), type);
  const follows = sql`(${column}, d.id) ${beyond} (${value}, ${id})`;
  return hasGaps(order) ? sql`(${follows} OR ${column} IS NULL)` : follows;
}

/**
 * Whether a device runs one of some versions, whatever text it reports for it. Which texts there are the fleet's counters
 * know, but for those of retired devices.
 */
function runsOneOf(retired: boolean, versions: Sql): Sql {
  const texts = retired
    ? sql`SELECT DISTINCT firmware_version AS text FROM device_state OFFSET 0`
    : sql`SELECT DISTINCT name AS text FROM fleet_counts WHERE dimension = 'firmware_version' OFFSET 0`;
  return sql`s.firmware_version = ANY (ARRAY(SELECT text FROM (${texts}) AS seen
    WHERE version_identity(text) = ANY (SELECT version_identity(v) FROM unnest(${versions}) AS v)))`;
}
