import { Sql } from "./sql.ts";

/** The types of parameters, as PostgreSQL names them. */
export type ParameterType =
  | "bigint"
  | "boolean"
  | "date"
  | "float8"
  | "int"
  | "real"
  | "smallint"
  | "text"
  | "text[]"
  | "timestamptz"
  | "uuid"
  | "uuid[]";

/** The values of a statement whose conditions are known only when it is asked, in the order of their numbers. */
export class Parameters {
  readonly #values: unknown[] = [];
  readonly #first: number;

  /** @param first the number of the first parameter */
  constructor(first = 1) {
    this.#first = first;
  }

  /** Takes a value; returns the parameter that stands for it. */
  add(value: unknown, type: ParameterType): Sql {
    this.#values.push(value);
    return new Sql(`$${this.#first + this.#values.length - 1}::${type}`);
  }

  /** All values so far. */
  get values(): readonly unknown[] {
    return this.#values;
  }
}
