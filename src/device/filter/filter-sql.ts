import type { Comparison, FilterTime, TextPattern } from "../../filter/filter.ts";
import {
  comparisonSql,
  conditionSql,
  entryOf,
  equality,
  fixedMillisecond,
  itemTest,
  type Millisecond,
  type Parameter,
  presentTest,
  searchTest,
  textMatch,
  textTest,
  timeTest,
} from "../../filter/filter-sql.ts";
import type { Parameters } from "../../infra/database/parameters.ts";
import { identifier, type Sql, sql } from "../../infra/database/sql.ts";
import { type PresenceMoment, presenceTest } from "../state/presence-sql.ts";
import { type HeldName, heldReadings } from "../state/readings.ts";
import { standingSql } from "../state/standing.ts";
import type { DeviceFilter, DeviceTest, FieldPath } from "./device-filter.ts";
import { type FieldName, faultKindOf, fieldKind, isSinglePrecision } from "./filter-fields.ts";

/**
 * Makes a filter a condition for WHERE, over `devices d LEFT JOIN device_state s ON s.device_id = d.id`. It is in brackets,
 * and may be NULL, which WHERE takes for false. It holds for the same devices as the predicate of compileFilterPredicate.
 * Nothing of the filter's text is in it: that goes to the parameters. Comparisons of versions need the SQL function
 * `semver_key`.
 */
export function compileFilterSql(filter: DeviceFilter, parameters: Parameters, moment: PresenceMoment): Sql {
  const parameter = parameters.add.bind(parameters);
  return conditionSql(filter, (tested) => test(tested, parameter, moment));
}

function test(tested: DeviceTest, parameter: Parameter, moment: PresenceMoment): Sql {
  switch (tested.kind) {
    case "search":
      return searchTest([sql`d.serial_number`, sql`d.display_name`], tested.text, parameter);
    case "present":
      return present(tested.field, parameter);
    case "text":
      return tested.field.name === "hardware_model"
        ? modelTest(tested.pattern, tested.negated, parameter)
        : textTest(columnOf(tested.field, parameter), tested.pattern, tested.negated, parameter);
    case "item":
      return itemTest(columnOf(tested.field, parameter), tested.pattern, parameter);
    case "id":
      return sql`${columns.id} ${equality(tested.negated)} ${parameter(tested.id, "uuid")}`;
    case "number":
      return numberTest(tested.field.name, tested.comparison, tested.value, parameter);
    case "time":
      return timeFieldTest(tested.field, parameter, (time) =>
        timeTest(time, tested.comparison, millisecond(tested.value, parameter, moment)),
      );
    case "version":
      return versionTest(tested.field, tested.comparison, tested.key, parameter);
    case "presence": {
      const holds = presenceTest(tested.presence, moment, parameter);
      return tested.negated ? sql`NOT coalesce(${holds}, false)` : holds;
    }
    case "pin":
      return sql`${columns.update_pin} ${equality(tested.negated)} ${parameter(tested.pin, "text")}`;
    case "standing":
      return sql`${columns.standing} ${equality(tested.negated)} ${parameter(tested.standing, "text")}`;
    case "choice":
      return sql`${columnOf(tested.field, parameter)} ${equality(tested.negated)} ${parameter(tested.value, "text")}`;
    case "flag":
      return sql`${columnOf(tested.field, parameter)} = ${parameter(tested.value, "boolean")}`;
  }
}

/** Of the faults of one device, of one kind: see {@link timeFieldTest}. */
const newestFault = sql`max(f.noticed_at)`;

/** The columns of the fields; those of a map take the name of the entry. */
const columns: Readonly<Record<FieldName, Sql>> = {
  id: sql`d.id`,
  serial_number: sql`d.serial_number`,
  device_type: sql`d.device_type`,
  hardware_model: sql`d.hardware_model`,
  product: sql`d.product`,
  display_name: sql`d.display_name`,
  groups: sql`d.groups`,
  tags: sql`d.tags`,
  metadata: sql`d.metadata`,
  update_pin: sql`d.update_pin`,
  standing: standingSql,
  clone_suspected_time: sql`d.clone_suspected_at`,
  create_time: sql`d.created_at`,
  firmware_version: sql`coalesce(s.firmware_version, nullif(d.reported->>'firmwareVersion', ''))`,
  components: sql`s.components`,
  presence: sql`s.last_seen_at`,
  last_seen_time: sql`s.last_seen_at`,
  clock_verdict: sql`s.clock_verdict`,
  reading_left_out_time: newestFault,
  heartbeat_refused_time: newestFault,
  heartbeat_repeated_time: newestFault,
  ...(Object.fromEntries(
    heldReadings.map(({ name, column }) => [name, sql`s.${identifier(column)}`]),
  ) as Record<HeldName, Sql>),
  security_counter: sql`coalesce(s.security_counter, 0)`,
};

function columnOf(field: FieldPath, parameter: Parameter): Sql {
  return entryOf(columns[field.name], field, parameter);
}

function present(field: FieldPath, parameter: Parameter): Sql {
  if (field.name === "update_pin") return sql`${columns.update_pin} <> 'none'`;
  const kind = fieldKind(field.name);
  if (kind === "time") return timeFieldTest(field, parameter, (time) => sql`${time} IS NOT NULL`);
  return presentTest(kind, field, columnOf(field, parameter));
}

/** A model matches by any of its names; those of the aliases are looked up once a statement. */
function modelTest(pattern: TextPattern, negated: boolean, parameter: Parameter): Sql {
  const matches = sql`${textMatch(columns.hardware_model, pattern, parameter)} OR ${columns.hardware_model} = ANY (ARRAY(
    SELECT unnest(model_names(ARRAY(
      SELECT n.name FROM model_aliases a, unnest(ARRAY[a.alias, a.hardware_model]) AS n (name)
      WHERE ${textMatch(sql`n.name`, pattern, parameter)})))))`;
  return negated ? sql`NOT (${matches})` : matches;
}

function numberTest(name: FieldName, comparison: Comparison, value: number, parameter: Parameter): Sql {
  const compared = isSinglePrecision(name) ? Math.fround(value) : value;
  return sql`${columns[name]} ${comparisonSql[comparison]} ${parameter(compared, "double precision")}`;
}

/**
 * A sort key costs some microseconds, and a fleet runs few versions: the versions are gathered first, once a statement, and
 * only theirs are made. For a million devices half a second instead of many.
 */
function versionTest(field: FieldPath, comparison: Comparison, key: string, parameter: Parameter): Sql {
  const holds = (version: Sql) =>
    sql`semver_key(${version}) COLLATE "C" ${comparisonSql[comparison]} ${parameter(key, "text")}`;
  if (field.name !== "firmware_version") return holds(columnOf(field, parameter));
  return sql`${columns.firmware_version} = ANY (ARRAY(
    SELECT version FROM (
      SELECT firmware_version AS version FROM device_state UNION SELECT reported->>'firmwareVersion' FROM devices OFFSET 0
    ) AS seen WHERE ${holds(sql`version`)}))`;
}

/**
 * A condition on the time in a field. Few devices have faults: those that the condition holds for are gathered first, once a
 * statement, and a device that has none fails it.
 */
function timeFieldTest(field: FieldPath, parameter: Parameter, test: (time: Sql) => Sql): Sql {
  const holds = test(columnOf(field, parameter));
  const kind = faultKindOf(field.name);
  if (kind === undefined) return holds;
  return sql`d.id IN (SELECT f.device_id FROM heartbeat_faults f
    WHERE f.kind = ${parameter(kind, "text")} GROUP BY f.device_id HAVING ${holds})`;
}

function millisecond(value: FilterTime, parameter: Parameter, { nowMs }: PresenceMoment): Millisecond {
  return fixedMillisecond("agoMs" in value ? nowMs - value.agoMs : value.sinceEpochMs, parameter);
}
