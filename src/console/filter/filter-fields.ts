/** What kind of value a field has; it decides which comparators it takes. */
type FieldKind =
  | "id"
  | "text"
  | "list"
  | "map"
  | "versions"
  | "choice"
  | "time"
  | "number"
  | "flag"
  | "version";

/** A field of the filter language, as the completion offers it. */
export interface FilterField {
  readonly name: string;
  readonly kind: FieldKind;
  /** For people, in a few words. */
  readonly hint: string;
  /** All values of a choice. */
  readonly values?: readonly string[];
}

/** The fields that a filter over devices may name (`ListDevicesRequest.filter`), those used most first. */
export const filterFields: readonly FilterField[] = [
  {
    name: "presence",
    kind: "choice",
    hint: "being heard from",
    values: ["ONLINE", "LATE", "OFFLINE", "UNKNOWN"],
  },
  { name: "device_type", kind: "text", hint: "kind of thing" },
  { name: "hardware_model", kind: "text", hint: "build of the hardware" },
  { name: "product", kind: "text", hint: "product that it runs" },
  { name: "firmware_version", kind: "version", hint: "version that runs" },
  { name: "groups", kind: "list", hint: "groups that it is in" },
  { name: "tags", kind: "list", hint: "tags that it carries" },
  { name: "battery_percent", kind: "number", hint: "charge, 0 to 100" },
  { name: "charging", kind: "flag", hint: "on external power" },
  { name: "last_seen_time", kind: "time", hint: "newest heartbeat" },
  { name: "create_time", kind: "time", hint: "enrolled or registered" },
  {
    name: "clock_verdict",
    kind: "choice",
    hint: "what its clock is worth",
    values: ["RIGHT", "OFF", "UNSET"],
  },
  { name: "heartbeat_refused_time", kind: "time", hint: "newest heartbeat refused" },
  { name: "reading_left_out_time", kind: "time", hint: "newest bad reading" },
  { name: "heartbeat_repeated_time", kind: "time", hint: "newest heartbeat sent again" },
  { name: "serial_number", kind: "text", hint: "serial number" },
  { name: "display_name", kind: "text", hint: "name for people" },
  { name: "cpu_percent", kind: "number", hint: "load, 0 to 100" },
  { name: "memory_percent", kind: "number", hint: "memory in use, 0 to 100" },
  { name: "storage_free_bytes", kind: "number", hint: "free storage in bytes" },
  { name: "temperature_celsius", kind: "number", hint: "degrees Celsius" },
  {
    name: "network_type",
    kind: "choice",
    hint: "connection",
    values: ["ETHERNET", "WIFI", "CELLULAR", "LPWAN", "SATELLITE"],
  },
  { name: "carrier", kind: "text", hint: "cellular operator" },
  { name: "signal_dbm", kind: "number", hint: "signal strength" },
  {
    name: "update_pin",
    kind: "choice",
    hint: "treatment by rollouts",
    values: ["UNSPECIFIED", "CANARY", "EXCLUDED"],
  },
  {
    name: "standing",
    kind: "choice",
    hint: "how far it is let in",
    values: ["ADMITTED", "QUARANTINED", "BLOCKED"],
  },
  { name: "clone_suspected_time", kind: "time", hint: "since when a clone is suspected" },
  { name: "metadata", kind: "map", hint: "metadata.<name>" },
  { name: "components", kind: "versions", hint: "components.<name>" },
  { name: "security_counter", kind: "number", hint: "signed security counter" },
  { name: "id", kind: "id", hint: "the device's id" },
];

/** The comparators of a kind of field, those used most first. */
export function comparatorsOf(kind: FieldKind): readonly string[] {
  switch (kind) {
    case "id":
      return ["=", "!="];
    case "list":
      return [":"];
    case "text":
    case "map":
    case "choice":
    case "flag":
      return ["=", "!=", ":"];
    case "versions":
    case "time":
    case "number":
    case "version":
      return ["<", "<=", ">", ">=", "=", "!=", ":"];
  }
}
