import { type Presence, presenceCutoffs } from "../state/presence.ts";
import { type HeldName, heldReadings } from "../state/readings.ts";
import type {
  Comparison,
  DeviceFilter,
  DeviceTest,
  FieldPath,
  FilterTime,
  TextPattern,
} from "./device-filter.ts";
import { type FieldName, fieldKind, isSinglePrecision } from "./filter-fields.ts";

/** What a filter is made into a condition with. */
export interface FilterSqlOptions {
  /** The moment that the filter is asked about, in milliseconds since 1970. */
  readonly nowMs: number;
  /** Decides who is online: see presenceOf. */
  readonly heartbeatIntervalMs: number;
  /** The number of the first parameter; 1 unless given. */
  readonly firstParameter?: number;
}

/** A condition for WHERE, over `devices d LEFT JOIN device_state s ON s.device_id = d.id`. */
export interface FilterSql {
  /** In brackets; it may be NULL, which WHERE takes for false. */
  readonly sql: string;
  /** The values of its parameters. Nothing of the filter's text is in the SQL itself. */
  readonly values: readonly unknown[];
}

/**
 * Makes a condition of a filter. It holds for the same devices as the predicate of compileFilterPredicate. Comparisons of
 * versions need the SQL function `semver_key`.
 */
export function compileFilterSql(filter: DeviceFilter, options: FilterSqlOptions): FilterSql {
  const values: unknown[] = [];
  const first = options.firstParameter ?? 1;
  const parameter: Parameter = (value, type) => {
    values.push(value);
    return `$${first + values.length - 1}::${type}`;
  };
  return { sql: condition(filter, parameter, options), values };
}

type Parameter = (value: unknown, type: string) => string;

function condition(filter: DeviceFilter, parameter: Parameter, options: FilterSqlOptions): string {
  switch (filter.kind) {
    case "all":
      return "(true)";
    case "and":
    case "or": {
      const operands = filter.operands.map((operand) => condition(operand, parameter, options));
      return `(${operands.join(filter.kind === "and" ? " AND " : " OR ")})`;
    }
    case "not":
      // A test of what is not known is NULL; AND and OR carry that along, and here it becomes "does not match".
      return `(NOT coalesce(${condition(filter.operand, parameter, options)}, false))`;
    default:
      return `(${test(filter, parameter, options)})`;
  }
}

function test(tested: DeviceTest, parameter: Parameter, options: FilterSqlOptions): string {
  switch (tested.kind) {
    case "search": {
      const text = parameter(lowerAscii(tested.text), "text");
      return `position(${text} in ${lowered("d.serial_number")}) > 0 OR position(${text} in ${lowered("d.display_name")}) > 0`;
    }
    case "present":
      return present(tested.field, parameter);
    case "text":
      return textTest(columnOf(tested.field, parameter), tested.pattern, tested.negated, parameter);
    case "item":
      return itemTest(columnOf(tested.field, parameter), tested.pattern, parameter);
    case "id":
      return `d.id ${tested.negated ? "<>" : "="} ${parameter(tested.id, "uuid")}`;
    case "number":
      return numberTest(tested.field.name, tested.comparison, tested.value, parameter);
    case "time":
      return timeTest(columnOf(tested.field, parameter), tested.comparison, tested.value, parameter, options);
    case "version":
      return versionTest(tested.field, tested.comparison, tested.key, parameter);
    case "presence": {
      const holds = presenceTest(tested.presence, parameter, options);
      return tested.negated ? `NOT coalesce(${holds}, false)` : holds;
    }
    case "pin":
      return `d.update_pin ${tested.negated ? "<>" : "="} ${parameter(tested.pin, "text")}`;
    case "choice":
      return `${columnOf(tested.field, parameter)} ${tested.negated ? "<>" : "="} ${parameter(tested.value, "text")}`;
    case "flag":
      return `${columnOf(tested.field, parameter)} = ${parameter(tested.value, "boolean")}`;
  }
}

const sqlOperators: Readonly<Record<Comparison, string>> = {
  "=": "=",
  "!=": "<>",
  "<": "<",
  "<=": "<=",
  ">": ">",
  ">=": ">=",
};

/** The columns of the fields; those of a map take the name of the entry. */
const columns: Readonly<Record<FieldName, string>> = {
  id: "d.id",
  serial_number: "d.serial_number",
  device_type: "d.device_type",
  hardware_model: "d.hardware_model",
  display_name: "d.display_name",
  groups: "d.groups",
  tags: "d.tags",
  metadata: "d.metadata",
  update_pin: "d.update_pin",
  create_time: "d.created_at",
  firmware_version: "coalesce(s.firmware_version, nullif(d.reported->>'firmwareVersion', ''))",
  components: "s.components",
  presence: "s.last_seen_at",
  last_seen_time: "s.last_seen_at",
  ...(Object.fromEntries(heldReadings.map(({ name, column }) => [name, `s.${column}`])) as Record<
    HeldName,
    string
  >),
  security_counter: "coalesce(s.security_counter, 0)",
};

function columnOf({ name, key }: FieldPath, parameter: Parameter): string {
  return key === undefined ? columns[name] : `(${columns[name]} ->> ${parameter(key, "text")})`;
}

function present(field: FieldPath, parameter: Parameter): string {
  const column = columnOf(field, parameter);
  if (field.key !== undefined) return `${column} IS NOT NULL`;
  if (field.name === "update_pin") return "d.update_pin <> 'none'";
  switch (fieldKind(field.name)) {
    case "list":
      return `cardinality(${column}) > 0`;
    case "text_map":
    case "version_map":
      return `${column} <> '{}'::jsonb`;
    case "text":
      return `${column} <> ''`;
    default:
      return `${column} IS NOT NULL`;
  }
}

function textTest(column: string, pattern: TextPattern, negated: boolean, parameter: Parameter): string {
  const matches = textMatch(column, pattern, parameter);
  return negated ? `NOT (${matches})` : matches;
}

function textMatch(column: string, { kind, text }: TextPattern, parameter: Parameter): string {
  switch (kind) {
    case "exact":
      return `${column} = ${parameter(text, "text")}`;
    case "prefix":
      // With this collation the index that serial numbers are sorted by answers it.
      return `(${column} COLLATE "C") ^@ ${parameter(text, "text")}`;
    case "suffix":
      return `right(${column}, length(${parameter(text, "text")})) = ${parameter(text, "text")}`;
    case "inside":
      return `position(${parameter(text, "text")} in ${column}) > 0`;
    case "contains":
      return `position(${parameter(lowerAscii(text), "text")} in ${lowered(column)}) > 0`;
  }
}

function itemTest(column: string, pattern: TextPattern, parameter: Parameter): string {
  if (pattern.kind === "exact") return `${column} @> ARRAY[${parameter(pattern.text, "text")}]`;
  return `EXISTS (SELECT FROM unnest(${column}) AS item WHERE ${textMatch("item", pattern, parameter)})`;
}

function numberTest(name: FieldName, comparison: Comparison, value: number, parameter: Parameter): string {
  const compared = isSinglePrecision(name) ? Math.fround(value) : value;
  return `${columns[name]} ${sqlOperators[comparison]} ${parameter(compared, "float8")}`;
}

/**
 * A sort key costs some microseconds, and a fleet runs few versions: the versions are gathered first, once a statement, and
 * only theirs are made. For a million devices half a second instead of many.
 */
function versionTest(field: FieldPath, comparison: Comparison, key: string, parameter: Parameter): string {
  const holds = (version: string) =>
    `semver_key(${version}) COLLATE "C" ${sqlOperators[comparison]} ${parameter(key, "text")}`;
  if (field.name !== "firmware_version") return holds(columnOf(field, parameter));
  return `${columns.firmware_version} = ANY (ARRAY(
    SELECT version FROM (
      SELECT firmware_version AS version FROM device_state UNION SELECT reported->>'firmwareVersion' FROM devices OFFSET 0
    ) AS seen WHERE ${holds("version")}))`;
}

/** Times count in whole milliseconds, as they are shown: what is finer in the database is cut off. */
function timeTest(
  column: string,
  comparison: Comparison,
  value: FilterTime,
  parameter: Parameter,
  { nowMs }: FilterSqlOptions,
): string {
  const ms = "agoMs" in value ? nowMs - value.agoMs : value.sinceEpochMs;
  const from = () => parameter(new Date(ms), "timestamptz");
  const until = () => parameter(new Date(ms + 1), "timestamptz");
  switch (comparison) {
    case "=":
      return `${column} >= ${from()} AND ${column} < ${until()}`;
    case "!=":
      return `${column} < ${from()} OR ${column} >= ${until()}`;
    case "<":
      return `${column} < ${from()}`;
    case "<=":
      return `${column} < ${until()}`;
    case ">":
      return `${column} >= ${until()}`;
    case ">=":
      return `${column} >= ${from()}`;
  }
}

/** The limits of presenceOf. */
function presenceTest(
  presence: Presence,
  parameter: Parameter,
  { nowMs, heartbeatIntervalMs }: FilterSqlOptions,
): string {
  const { onlineFrom, lateFrom } = presenceCutoffs(nowMs, heartbeatIntervalMs);
  const since = (second: number) => parameter(new Date(second * 1_000), "timestamptz");
  switch (presence) {
    case "unknown":
      return "s.last_seen_at IS NULL";
    case "online":
      return `s.last_seen_at >= ${since(onlineFrom)}`;
    case "late":
      return `s.last_seen_at < ${since(onlineFrom)} AND s.last_seen_at >= ${since(lateFrom)}`;
    case "offline":
      return `s.last_seen_at < ${since(lateFrom)}`;
  }
}

/** Only the letters of ASCII, alike on every server and in every locale. */
function lowered(column: string): string {
  return `lower(${column} COLLATE "C")`;
}

function lowerAscii(text: string): string {
  return text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}
