import { type ColumnType, parameter } from "./parameters.ts";
import { identifier, joined, type Sql, sql } from "./sql.ts";

/** A column of {@link RowArrays}: its type, and where its value stands in a row, JSON as text; undefined becomes NULL. */
export type RowColumn<Row> = readonly [
  type: Extract<ColumnType, "bigint" | "int" | "jsonb" | "text" | "timestamptz" | "uuid">,
  valueOf: (row: Row) => string | number | Date | undefined,
];

/**
 * Rows that travel to a statement as its first parameters, one array a column, and are a table there. So many rows cost one
 * statement, and each column's name, type, place and value are said once.
 */
export class RowArrays<Row> {
  readonly #columns: readonly (readonly [name: string, column: RowColumn<Row>])[];

  constructor(columns: Readonly<Record<string, RowColumn<Row>>>) {
    this.#columns = Object.entries(columns);
  }

  /** The rows as a table of that name, for `FROM`. */
  as(name: Sql): Sql {
    const arrays = this.#columns.map(([, [type]], at) => parameter(at + 1, `${type}[]`));
    const names = this.#columns.map(([column]) => identifier(column));
    return sql`unnest(${joined(arrays, sql`, `)}) AS ${name} (${joined(names, sql`, `)})`;
  }

  /** The parameters of the statement, as many as there are columns. */
  values(rows: readonly Row[]): string[] {
    return this.#columns.map(([, [type, valueOf]]) => {
      const element = type === "text" || type === "jsonb" ? textElement : plainElement;
      return `{${rows.map((row) => element(valueOf(row))).join(",")}}`;
    });
  }
}

/** As it stands in the text of an array, many times quicker than by pg, which has to look at each character. */
function plainElement(value: string | number | Date | undefined): string | number {
  return value instanceof Date ? value.toISOString() : (value ?? "NULL");
}

function textElement(value: string | number | Date | undefined): string | number {
  return typeof value === "string" && !plain.test(value) ? quoted(value) : plainElement(value);
}

/** What PostgreSQL reads as it stands; `NULL` alone means something else. */
const plain = /^(?!null$)[\w.:+-]+$/i;

function quoted(text: string): string {
  return `"${text.replaceAll(/[\\"]/g, "\\$&")}"`;
}
