import { Sql } from "./sql.ts";

/** The types of columns, as PostgreSQL names them. */
export type ColumnType =
  | "bigint"
  | "boolean"
  | "box"
  | "bytea"
  | "date"
  | "double precision"
  | "int"
  | "interval"
  | "jsonb"
  | "real"
  | "smallint"
  | "text"
  | "timestamptz"
  | "uuid";

/** The types of parameters. */
export type ParameterType = ColumnType | `${ColumnType}[]`;

/** The parameter of that number. For a statement whose parameters follow from a table of columns. */
export function parameter(number: number, type: ParameterType): Sql {
  return new Sql(`$${number}::${type}`);
}

/** The values of a statement whose conditions are known only when it is asked, in the order of their numbers. */
export class Parameters {
  readonly #values: unknown[];

  /** `first`: values of parameters that stand in the statement by their numbers. */
  constructor(first: readonly unknown[] = []) {
    this.#values = [...first];
  }

  /** Takes a value; returns the parameter that stands for it. */
  add(value: unknown, type: ParameterType): Sql {
    return parameter(this.#values.push(value), type);
  }

  /** All values so far. */
  get values(): readonly unknown[] {
    return this.#values;
  }
}
