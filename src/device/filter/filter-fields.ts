import type { FieldKind, FilterField } from "../../filter/filter.ts";
import { clockVerdicts } from "../state/clock-verdict.ts";
import type { UpdatePin } from "../state/filterable-device.ts";
import type { HeartbeatFaultKind } from "../state/heartbeat-fault-writer.ts";
import type { Presence } from "../state/presence.ts";
import { type HeldName, heldReadings } from "../state/readings.ts";
import type { Standing } from "../state/standing.ts";

/** A field of devices that a filter can name. */
export interface DeviceFilterField extends FilterField {
  readonly name: FieldName;
}

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

/** Standings as filters write them. */
export const standingNames: Readonly<Record<string, Standing>> = {
  ADMITTED: "admitted",
  QUARANTINED: "quarantined",
  BLOCKED: "blocked",
};

/** The fields by name. */
const fields = {
  id: { kind: "id", description: "The device's id." },
  serial_number: { kind: "text", description: "The serial number that it enrolled with." },
  device_type: { kind: "text", description: "What kind of thing it is." },
  hardware_model: { kind: "text", description: "Which build of the hardware." },
  product: { kind: "text", description: "The product that it runs, as it or an operator said." },
  display_name: { kind: "text", description: "Its name for people." },
  groups: { kind: "list", description: "The groups that it is in." },
  tags: { kind: "list", description: "The tags that it carries." },
  metadata: { kind: "text_map", description: "What is kept with it, as text by name." },
  update_pin: {
    kind: "choice",
    description: "How all rollouts treat it.",
    values: Object.keys(pinNames),
  },
  standing: {
    kind: "choice",
    description: "How far it is let in.",
    values: Object.keys(standingNames),
  },
  clone_suspected_time: {
    kind: "time",
    description: "Since when it is suspected to have a clone, until an operator clears it.",
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
  clock_verdict: {
    kind: "choice",
    description: "What its newest heartbeat shows of its clock: right within a minute, off, or never set.",
    values: clockVerdicts,
  },
  reading_left_out_time: {
    kind: "time",
    description: "When a reading was last left out of one of its heartbeats.",
  },
  heartbeat_refused_time: { kind: "time", description: "When one of its heartbeats was last refused." },
  heartbeat_repeated_time: {
    kind: "time",
    description: "When it last sent a heartbeat again that was stored before.",
  },
  ...readingFields(),
  security_counter: { kind: "number", description: "The signed security counter of what it runs." },
} as const satisfies Record<string, FieldRow>;

type FieldRow = Omit<FilterField, "name">;

/** The name of a field. */
export type FieldName = keyof typeof fields;

/** Every field that a filter can name, in the order of the documentation. */
export const deviceFilterFields: readonly DeviceFilterField[] = Object.entries(fields).map(
  ([name, field]) => ({
    name: name as FieldName,
    ...field,
  }),
);

/** The kind of a field. */
export function fieldKind(name: FieldName): FieldKind {
  return fields[name].kind;
}

/** The kind of fault whose newest time a field is; undefined for all other fields. */
export function faultKindOf(name: FieldName): HeartbeatFaultKind | undefined {
  return faultKinds[name];
}

const faultKinds: { readonly [name in FieldName]?: HeartbeatFaultKind } = {
  reading_left_out_time: "left_out",
  heartbeat_refused_time: "refused",
  heartbeat_repeated_time: "repeated",
};

/** Whether the database keeps a field's numbers in single precision: values are then compared as it holds them. */
export function isSinglePrecision(name: FieldName): boolean {
  return singlePrecision.has(name);
}

const singlePrecision: ReadonlySet<FieldName> = new Set(
  heldReadings.filter(({ kind }) => kind === "real").map(({ name }) => name),
);

function readingFields(): Readonly<Record<HeldName, FieldRow>> {
  const rows = heldReadings.map(({ name, kind, values, filter }): [HeldName, FieldRow] => [
    name,
    { kind: kindOf(kind), description: filter, ...(values === undefined ? {} : { values }) },
  ]);
  return Object.fromEntries(rows) as Record<HeldName, FieldRow>;
}

function kindOf(kind: (typeof heldReadings)[number]["kind"]): FieldKind {
  return kind === "flag" || kind === "text" || kind === "choice" || kind === "time" ? kind : "number";
}
