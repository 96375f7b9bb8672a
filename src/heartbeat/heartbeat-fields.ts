import { byField } from "../device/state/readings.ts";
import { invalidArgument } from "../errors.ts";

/** The fields of `Heartbeat` by name, each with the columns that it is read from. */
const columnsOfField = {
  sequence: ["sequence"],
  device_time: ["device_time"],
  firmware_version: ["firmware_version"],
  boot_id: ["boot_id"],
  uptime: ["uptime_ms"],
  ...byField(({ column }) => column),
  errors: ["errors"],
  metrics: ["metrics"],
  security_counter: ["security_counter"],
  image_sha256: ["image_sha256"],
  components: ["components"],
} as const satisfies Record<string, readonly string[]>;

/** A field of `Heartbeat`. */
export type HeartbeatField = keyof typeof columnsOfField;

/** All fields, in the order of the contract. */
export const heartbeatFields = Object.keys(columnsOfField) as readonly HeartbeatField[];

/**
 * The fields that a mask names, without repeats and in its order; undefined for no mask, which means all. Throws
 * INVALID_ARGUMENT for a name that is no field, and for parts of a field.
 */
export function maskedFields(paths: readonly string[] | undefined): readonly HeartbeatField[] | undefined {
  if (paths === undefined || paths.length === 0) return undefined;
  for (const path of paths) {
    if (Object.hasOwn(columnsOfField, path)) continue;
    const [first = ""] = path.split(".");
    const hint = Object.hasOwn(columnsOfField, first) ? `; name all of ${first}` : "";
    throw invalidArgument(
      "read_mask",
      `${JSON.stringify(path.slice(0, 100))} is no field of a heartbeat${hint}; there are ${heartbeatFields.join(", ")}`,
    );
  }
  return [...new Set(paths as readonly HeartbeatField[])];
}

/** The columns to read for some fields, with those that place a heartbeat in its device's list. */
export function columnsFor(fields: readonly HeartbeatField[]): string[] {
  return [
    ...new Set([
      "device_id",
      "received_at",
      "epoch",
      "sequence",
      ...fields.flatMap((field) => columnsOfField[field]),
    ]),
  ];
}
