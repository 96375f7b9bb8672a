import { snakeCase } from "../../call/snake-case.ts";

/**
 * What a device may tell in a heartbeat beside its identity, one row a reading: all of the service that treats readings
 * alike is made from these rows, from the check on arrival to the columns of tables, filters, exports and charts.
 * docs/adding-a-reading.md says what else a new one needs. The order is that of the contract, which exports follow too.
 */
const rows = {
  batteryPercent: {
    kind: "real",
    range: [0, 100],
    filter: "The battery's charge.",
    check: true,
    metric: { rollup: "battery", unit: "%", words: "Battery" },
  },
  charging: { kind: "flag", filter: "Whether it is being charged.", check: true },
  cpuPercent: {
    kind: "real",
    range: [0, 100],
    filter: "How busy the processor is.",
    metric: { rollup: "cpu", unit: "%", words: "Processor" },
  },
  memoryPercent: {
    kind: "real",
    range: [0, 100],
    filter: "How much of the memory is used.",
    metric: { rollup: "memory", unit: "%", words: "Memory in use" },
  },
  storageFreeBytes: {
    kind: "count",
    filter: "How much storage is free.",
    check: true,
    metric: { rollup: "storage_free", unit: "byte", words: "Free storage" },
  },
  temperatureCelsius: {
    kind: "real",
    range: [-100, 300],
    filter: "Its temperature.",
    metric: { rollup: "temperature", unit: "°C", words: "Temperature" },
  },
  latitude: { kind: "double", range: [-90, 90], field: "location.latitude" },
  longitude: { kind: "double", range: [-180, 180], field: "location.longitude" },
  accuracyMeters: { kind: "real", range: [0, Infinity], field: "location.accuracy_meters" },
  altitudeMeters: { kind: "real", range: [-Infinity, Infinity], field: "location.altitude_meters" },
  // When the position was taken, by the device's clock; absent means with the heartbeat.
  fixTime: { kind: "time", field: "location.fix_time" },
  networkType: {
    kind: "choice",
    values: ["ETHERNET", "WIFI", "CELLULAR", "LPWAN", "SATELLITE"],
    field: "network.type",
    column: "network",
    filter: "How it is connected.",
    check: true,
  },
  signalDbm: {
    kind: "smallint",
    range: [-200, 100],
    field: "network.signal_dbm",
    filter: "The strength of the signal that it receives.",
    metric: { rollup: "signal", unit: "dBm", words: "Signal" },
  },
  carrier: {
    kind: "text",
    maxCharacters: 64,
    field: "network.carrier",
    filter: "The operator of its cellular network.",
  },
} as const satisfies Record<string, ReadingRow>;

/** What a row says of a reading, whose key is the property of records. */
interface ReadingRow {
  readonly kind: ReadingKind;
  /** Its path in the contract's `Heartbeat`, by which it is refused; its name unless given. */
  readonly field?: string;
  /** Its column in device_heartbeats and device_state; its name unless given. */
  readonly column?: string;
  /** The least and most of a number, both allowed. Infinity stands for what the kind can hold. */
  readonly range?: readonly [least: number, most: number];
  /** Of a text. */
  readonly maxCharacters?: number;
  /** The words of a choice, in the order of the contract's numbers from 1. */
  readonly values?: readonly string[];
  /** Filters may ask for it, by its name, and the service keeps it in memory of each device. This tells people what it is. */
  readonly filter?: string;
  /** A device may tell it also when it asks for an update. */
  readonly check?: true;
  /** It is rolled up and shown over time. */
  readonly metric?: ReadingMetric;
}

/** A reading as a metric. */
interface ReadingMetric {
  /** What the columns of its roll-up begin with. */
  readonly rollup: string;
  readonly unit: string;
  /** Its name for people. */
  readonly words: string;
}

/** A reading: a row with its names. */
export interface Reading extends ReadingRow {
  readonly property: ReadingProperty;
  /** In filters, exports and series. */
  readonly name: string;
  readonly field: string;
  readonly column: string;
}

/** The property of a reading in records. */
export type ReadingProperty = keyof typeof rows;

/** The properties of the readings that filters may ask for. */
export type HeldProperty = {
  [P in ReadingProperty]: (typeof rows)[P] extends { filter: string } ? P : never;
}[ReadingProperty];

/** The properties of the readings that a device may tell when it asks for an update. */
type CheckProperty = {
  [P in ReadingProperty]: (typeof rows)[P] extends { check: true } ? P : never;
}[ReadingProperty];

/** The name of a reading that filters may ask for. */
export type HeldName = Snake<HeldProperty>;

/** The first part of a reading's path in the contract: the field of `Heartbeat` that holds it. */
export type ReadingField = {
  [P in ReadingProperty]: (typeof rows)[P] extends { field: `${infer First}.${string}` } ? First : Snake<P>;
}[ReadingProperty];

/** Readings of one device at one time: absent if it did not tell, never zero for that. */
export type Readings = { readonly [P in ReadingProperty]?: ValueOf<(typeof rows)[P]> | undefined };

/** What a device may tell of itself when it asks for an update. */
export type CheckReadings = Pick<Readings, CheckProperty>;

/** The value of a reading. */
export type ReadingValue<P extends ReadingProperty> = ValueOf<(typeof rows)[P]>;

/** How a device is connected. */
export type NetworkType = ReadingValue<"networkType">;

/** What kinds of readings there are: what a record holds, and the type of the column. */
interface Kinds {
  readonly real: number;
  readonly double: number;
  readonly smallint: number;
  /** A whole number up to 2^53. */
  readonly count: number;
  readonly flag: boolean;
  readonly text: string;
  readonly time: Date;
  readonly choice: string;
}

type ReadingKind = keyof Kinds;

/** The column's type in PostgreSQL by the reading's kind. Words rather than numbers: tables can be read without the contract. */
export const columnTypes = {
  real: "real",
  double: "double precision",
  smallint: "smallint",
  count: "bigint",
  flag: "boolean",
  text: "text",
  time: "timestamptz",
  choice: "text",
} as const satisfies Record<ReadingKind, string>;

/** All readings. */
export const readings: readonly Reading[] = Object.entries(rows).map(([property, row]) => {
  const name = snakeCase(property);
  return { field: name, column: name, ...row, property: property as ReadingProperty, name };
});

/** The readings that filters may ask for. */
export const heldReadings = readings.filter(({ filter }) => filter !== undefined) as readonly (Reading & {
  readonly property: HeldProperty;
  readonly name: HeldName;
  readonly filter: string;
})[];

/** The readings that a device may tell when it asks for an update. */
export const checkReadings = readings.filter(({ check }) => check) as readonly (Reading & {
  readonly property: CheckProperty;
})[];

/** Something of each reading, by the field of the contract's `Heartbeat` that holds it. */
export function byField<T>(of: (reading: Reading) => T): Readonly<Record<ReadingField, readonly T[]>> {
  const found: Record<string, T[]> = {};
  for (const reading of readings) (found[reading.field.split(".")[0] ?? ""] ??= []).push(of(reading));
  return found as Record<ReadingField, T[]>;
}

/** How devices can be connected. */
export const networkTypes: readonly NetworkType[] = rows.networkType.values;

type ValueOf<Row extends ReadingRow> = Row extends { values: readonly (infer Word)[] }
  ? Word
  : Kinds[Row["kind"]];

type Snake<Text extends string> = Text extends `${infer First}${infer Rest}`
  ? First extends Lowercase<First>
    ? `${First}${Snake<Rest>}`
    : `_${Lowercase<First>}${Snake<Rest>}`
  : "";
