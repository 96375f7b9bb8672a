import type { UpdatePin } from "../state/filterable-device.ts";
import type { Presence } from "../state/presence.ts";

/** A field that a filter can name. Fields of a map are followed by a dot and a name. */
export interface DeviceFilterField {
  readonly name: FieldName;
  readonly kind: FieldKind;
  /** For people, in one sentence. */
  readonly description: string;
  /** The values of a choice. */
  readonly values?: readonly string[];
}

/** What can be asked of a field: see {@link fieldComparators}. */
export type FieldKind =
  | "id"
  | "text"
  | "list"
  | "text_map"
  | "version_map"
  | "choice"
  | "time"
  | "number"
  | "flag"
  | "version";

/** The comparators of each kind of field. */
export const fieldComparators: Readonly<Record<FieldKind, readonly string[]>> = {
  id: ["=", "!="],
  text: ["=", "!=", ":"],
  list: [":"],
  text_map: ["=", "!=", ":"],
  version_map: ["=", "!=", "<", "<=", ">", ">=", ":"],
  choice: ["=", "!=", ":"],
  time: ["=", "!=", "<", "<=", ">", ">=", ":"],
  number: ["=", "!=", "<", "<=", ">", ">=", ":"],
  flag: ["=", "!=", ":"],
  version: ["=", "!=", "<", "<=", ">", ">=", ":"],
};

/** The names of `ota.v1.NetworkType` by their numbers, the first of which stands for "not told". */
export const networkTypes = ["", "ETHERNET", "WIFI", "CELLULAR", "LPWAN", "SATELLITE"] as const;

/** Presence as filters write it. */
export const presences: Readonly<Record<string, Presence>> = {
  UNKNOWN: "unknown",
  ONLINE: "online",
  LATE: "late",
  OFFLINE: "offline",
};

/** Update pins as filters write them. */
export const pinNames: Readonly<Record<string, UpdatePin>> = {
  UNSPECIFIED: "none",
  CANARY: "canary",
  EXCLUDED: "excluded",
};

/** The fields by name. */
const fields = {
  id: { kind: "id", description: "The device's id." },
  serial_number: { kind: "text", description: "The serial number that it enrolled with." },
  device_type: { kind: "text", description: "What kind of thing it is." },
  hardware_model: { kind: "text", description: "Which build of the hardware." },
  display_name: { kind: "text", description: "Its name for people." },
  groups: { kind: "list", description: "The groups that it is in." },
  tags: { kind: "list", description: "The tags that it carries." },
  metadata: { kind: "text_map", description: "What is kept with it, as text by name." },
  update_pin: {
    kind: "choice",
    description: "How all rollouts treat it.",
    values: Object.keys(pinNames),
  },
  create_time: { kind: "time", description: "When it enrolled or was registered." },
  firmware_version: {
    kind: "version",
    description: "The version that its newest heartbeat showed; before the first one, what it enrolled with.",
  },
  components: { kind: "version_map", description: "The versions of its applications by name." },
  presence: {
    kind: "choice",
    description: "Whether it is being heard from.",
    values: Object.keys(presences),
  },
  last_seen_time: { kind: "time", description: "When its newest heartbeat was received." },
  battery_percent: { kind: "number", description: "The battery's charge." },
  charging: { kind: "flag", description: "Whether it is being charged." },
  cpu_percent: { kind: "number", description: "How busy the processor is." },
  memory_percent: { kind: "number", description: "How much of the memory is used." },
  storage_free_bytes: { kind: "number", description: "How much storage is free." },
  temperature_celsius: { kind: "number", description: "Its temperature." },
  network_type: {
    kind: "choice",
    description: "How it is connected.",
    values: networkTypes.slice(1),
  },
  carrier: { kind: "text", description: "The operator of its cellular network." },
  signal_dbm: { kind: "number", description: "The strength of the signal that it receives." },
  security_counter: { kind: "number", description: "The signed security counter of what it runs." },
} as const satisfies Record<string, Omit<DeviceFilterField, "name">>;

/** The name of a field. */
export type FieldName = keyof typeof fields;

/** Every field that a filter can name, in the order of the documentation. */
export const deviceFilterFields: readonly DeviceFilterField[] = Object.entries(fields).map(
  ([name, field]) => ({
    name: name as FieldName,
    ...field,
  }),
);
