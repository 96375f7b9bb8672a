import { ListFilter } from "../filter/list-filter.ts";
import { sql } from "../infra/database/sql.ts";

/** What the filter of a list of firmware can name. */
export const firmwareListFilter = new ListFilter(
  {
    id: { kind: "id", column: sql`id`, description: "The firmware's id." },
    product: { kind: "text", column: sql`product`, description: "The product." },
    version: { kind: "version", column: sql`version`, description: "The version." },
    state: {
      kind: "choice",
      column: sql`state`,
      prefix: "FIRMWARE_STATE_",
      values: ["DRAFT", "UPLOADED", "RELEASED"],
      description: "How far it is.",
    },
    kind: {
      kind: "choice",
      column: sql`kind`,
      prefix: "UPDATE_KIND_",
      values: ["FIRMWARE", "APPLICATION"],
      description: "What it is an image of.",
    },
    component: { kind: "text", column: sql`component`, description: "The application's name on the device." },
    device_types: {
      kind: "list",
      column: sql`device_types`,
      description: "The device types that it is for; none: all.",
    },
    hardware_models: {
      kind: "list",
      column: sql`hardware_models`,
      description: "The hardware models that it fits; none: all.",
    },
    reported_versions: {
      kind: "list",
      column: sql`reported_versions`,
      description: "Texts under which devices report it beside its version.",
    },
    min_current_version: {
      kind: "version",
      column: sql`nullif(min_current_version, '')`,
      description: "From which version on devices may install it.",
    },
    min_battery_percent: {
      kind: "number",
      column: sql`min_battery_percent`,
      description: "The least charge.",
    },
    size_bytes: { kind: "number", column: sql`size_bytes`, description: "The size of the content." },
    security_counter: { kind: "number", column: sql`security_counter`, description: "The security counter." },
    security_fix: {
      kind: "flag",
      column: sql`security_fix`,
      description: "Whether it mends a vulnerability.",
    },
    mandatory_step: {
      kind: "flag",
      column: sql`mandatory_step`,
      description: "Whether no device may skip it.",
    },
    sha256: { kind: "text", column: sql`sha256`, description: "The digest of the content, in hexadecimal." },
    release_notes: { kind: "text", column: sql`release_notes`, description: "What is new." },
    metadata: {
      kind: "text_map",
      column: sql`metadata`,
      description: "What is kept with it, as text by name.",
    },
    create_time: { kind: "time", column: sql`created_at`, description: "When it was described first." },
    release_time: { kind: "time", column: sql`released_at`, description: "When it was released." },
    expire_time: { kind: "time", column: sql`expires_at`, description: "When its manifest ends." },
    damaged_time: {
      kind: "time",
      column: sql`damaged_at`,
      description: "Since when its content is known to be damaged.",
    },
  },
  ["product", "version", "release_notes"],
);
