import { p } from "@mikro-orm/core";
import { count, instant } from "../../infra/database/columns.ts";
import { type ReadingProperty, type ReadingValue, readings } from "./readings.ts";

/** The columns of the readings, as properties of an entity. */
export function readingProperties(): ReadingProperties {
  const properties = readings.map(({ property, kind, column }) => [
    property,
    ofKind[kind]().fieldName(column).strictNullable(),
  ]);
  return Object.fromEntries(properties) as ReadingProperties;
}

/** Each null if the device did not tell. */
type ReadingProperties = { [P in ReadingProperty]: ReturnType<typeof nullable<ReadingValue<P>>> };

function nullable<T>() {
  return p.text().$type<T>().strictNullable();
}

const ofKind = {
  real: () => p.float(),
  double: () => p.double(),
  smallint: () => p.smallint(),
  count: () => count(),
  flag: () => p.boolean(),
  text: () => p.text(),
  time: () => instant(),
  choice: () => p.text(),
} as const;
