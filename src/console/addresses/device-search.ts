import { compact, type RawSearch, searchChoice, searchFlag, searchText } from "./search.ts";

/** The orders in which the list of devices can be read, as the contract names them. */
export const deviceOrders = [
  "create_time desc",
  "create_time",
  "serial_number",
  "serial_number desc",
  "last_seen_time desc",
  "last_seen_time",
  "battery_percent",
  "battery_percent desc",
] as const;

/** One of {@link deviceOrders}. */
export type DeviceOrder = (typeof deviceOrders)[number];

/** The address of the list of devices. */
export interface DeviceListSearch {
  readonly filter?: string;
  readonly order?: DeviceOrder;
  readonly retired?: true;
}

/** Reads {@link DeviceListSearch}; what it does not know is dropped. */
export function deviceListSearch(raw: RawSearch): DeviceListSearch {
  return compact({
    filter: searchText(raw, "filter"),
    order: searchChoice(raw, "order", deviceOrders),
    retired: searchFlag(raw, "retired"),
  });
}

/** The parts of a device's page. */
export const deviceTabs = ["measurements", "map", "updates", "errors", "heartbeat"] as const;

/** The spans of time that a device's page offers. */
export const deviceRanges = ["1h", "6h", "24h", "7d", "30d"] as const;

/** By which time a device's page places heartbeats, beside when they were received. */
const deviceTimeBases = ["device"] as const;

/** The address of one device. `from` and `to` are milliseconds since 1970 and go before `range`. */
export interface DeviceSearch {
  readonly tab?: (typeof deviceTabs)[number];
  readonly range?: (typeof deviceRanges)[number];
  readonly from?: number;
  readonly to?: number;
  /** By which time heartbeats are placed; without it by when they were received. */
  readonly by?: (typeof deviceTimeBases)[number];
  /** Metrics by name, with commas between. */
  readonly metrics?: string;
}

/** Reads {@link DeviceSearch}. */
export function deviceSearch(raw: RawSearch): DeviceSearch {
  const [from, to] = [Number(raw["from"]), Number(raw["to"])];
  const hasSpan = Number.isFinite(from) && Number.isFinite(to) && from < to;
  return compact({
    tab: searchChoice(raw, "tab", deviceTabs),
    range: searchChoice(raw, "range", deviceRanges),
    from: hasSpan ? from : undefined,
    to: hasSpan ? to : undefined,
    by: searchChoice(raw, "by", deviceTimeBases),
    metrics: searchText(raw, "metrics"),
  });
}

/** The address of the map: which devices, and the box that is shown, as `south,west,north,east` in degrees. */
export interface MapSearch {
  readonly filter?: string;
  readonly box?: string;
}

/** Reads {@link MapSearch}. */
export function mapSearch(raw: RawSearch): MapSearch {
  return compact({ filter: searchText(raw, "filter"), box: searchText(raw, "box") });
}
