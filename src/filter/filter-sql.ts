import type { Parameters } from "../infra/database/parameters.ts";
import { joined, type Sql, sql } from "../infra/database/sql.ts";
import type { Comparison, FieldKind, FieldPath, Filter, FilterTest, TextPattern } from "./filter.ts";

/** Tests of filters as conditions of SQL. Nothing of a filter's text is in them: that goes to the parameters. */

/** Takes a value; returns the parameter that stands for it. */
export type Parameter = Parameters["add"];

/** A filter as a condition for WHERE, in brackets, of those that its tests make; it may be NULL, which WHERE takes for false. */
export function conditionSql<Name extends string, Choice>(
  filter: Filter<Name, Choice>,
  test: (tested: FilterTest<Name> | Choice) => Sql,
): Sql {
  // Choices have kinds of their own; the compiler cannot know that they are none of these.
  const tree = filter as Exclude<Filter<Name, Choice>, Choice>;
  switch (tree.kind) {
    case "all":
      return sql`(true)`;
    case "and":
    case "or": {
      const operands = tree.operands.map((operand) => conditionSql(operand, test));
      return sql`(${joined(operands, tree.kind === "and" ? sql` AND ` : sql` OR `)})`;
    }
    case "not":
      // A test of what is not known is NULL; AND and OR carry that along, and here it becomes "does not match".
      return sql`(NOT coalesce(${conditionSql(tree.operand, test)}, false))`;
    default:
      return sql`(${test(tree)})`;
  }
}

/** A column, or of a map the entry of that name. */
export function entryOf(column: Sql, { key }: Pick<FieldPath, "key">, parameter: Parameter): Sql {
  return key === undefined ? column : sql`(${column} ->> ${parameter(key, "text")})`;
}

/** Whether a field of that kind has a value, given what {@link entryOf} says of it. An empty text, list or map is none. */
export function presentTest(kind: FieldKind, { key }: Pick<FieldPath, "key">, column: Sql): Sql {
  if (key !== undefined) return sql`${column} IS NOT NULL`;
  switch (kind) {
    case "list":
      return sql`cardinality(${column}) > 0`;
    case "text_map":
    case "version_map":
      return sql`${column} <> '{}'::jsonb`;
    case "text":
      return sql`${column} <> ''`;
    default:
      return sql`${column} IS NOT NULL`;
  }
}

/** The comparators in SQL. */
export const comparisonSql: Readonly<Record<Comparison, Sql>> = {
  "=": sql`=`,
  "!=": sql`<>`,
  "<": sql`<`,
  "<=": sql`<=`,
  ">": sql`>`,
  ">=": sql`>=`,
};

/** Whether two values are the same, or not. */
export function equality(negated: boolean): Sql {
  return negated ? sql`<>` : sql`=`;
}

/** Whether one of the columns contains a text, in ASCII letters of any case. */
export function searchTest(columns: readonly Sql[], text: string, parameter: Parameter): Sql {
  const searched = parameter(lowerAscii(text), "text");
  return joined(
    columns.map((column) => sql`position(${searched} in ${lowered(column)}) > 0`),
    sql` OR `,
  );
}

/** Whether a column has a text, or has another one. */
export function textTest(column: Sql, pattern: TextPattern, negated: boolean, parameter: Parameter): Sql {
  const matches = textMatch(column, pattern, parameter);
  return negated ? sql`NOT (${matches})` : matches;
}

/** Whether a column looks like a text. */
export function textMatch(column: Sql, { kind, text }: TextPattern, parameter: Parameter): Sql {
  switch (kind) {
    case "exact":
      return sql`${column} = ${parameter(text, "text")}`;
    case "prefix":
      // With this collation the index that serial numbers are sorted by answers it.
      return sql`(${column} COLLATE "C") ^@ ${parameter(text, "text")}`;
    case "suffix":
      return sql`right(${column}, length(${parameter(text, "text")})) = ${parameter(text, "text")}`;
    case "inside":
      return sql`position(${parameter(text, "text")} in ${column}) > 0`;
    case "contains":
      return sql`position(${parameter(lowerAscii(text), "text")} in ${lowered(column)}) > 0`;
  }
}

/** Whether a list in a column has an item. */
export function itemTest(column: Sql, pattern: TextPattern, parameter: Parameter): Sql {
  if (pattern.kind === "exact") return sql`${column} @> ARRAY[${parameter(pattern.text, "text")}]`;
  return sql`EXISTS (SELECT FROM unnest(${column}) AS item WHERE ${textMatch(sql`item`, pattern, parameter)})`;
}

/** A millisecond: where it begins, and where the next one does. Asked for only what is needed. */
export interface Millisecond {
  readonly from: () => Sql;
  readonly until: () => Sql;
}

/** The millisecond of a time that is the same whenever it is asked for. */
export function fixedMillisecond(ms: number, parameter: Parameter): Millisecond {
  return {
    from: () => parameter(instantText(ms), "timestamptz"),
    until: () => parameter(instantText(ms + 1), "timestamptz"),
  };
}

/** As PostgreSQL reads it: of a year with five digits, which begins where the last millisecond of a filter ends, without the sign. */
function instantText(ms: number): string {
  return new Date(ms).toISOString().replace(/^\+0/, "");
}

/** Times count in whole milliseconds, as they are shown: what is finer in the database is cut off. */
export function timeTest(column: Sql, comparison: Comparison, { from, until }: Millisecond): Sql {
  switch (comparison) {
    case "=":
      return sql`${column} >= ${from()} AND ${column} < ${until()}`;
    case "!=":
      return sql`${column} < ${from()} OR ${column} >= ${until()}`;
    case "<":
      return sql`${column} < ${from()}`;
    case "<=":
      return sql`${column} < ${until()}`;
    case ">":
      return sql`${column} >= ${until()}`;
    case ">=":
      return sql`${column} >= ${from()}`;
  }
}

/** Only the letters of ASCII, alike on every server and in every locale. */
function lowered(column: Sql): Sql {
  return sql`lower(${column} COLLATE "C")`;
}

function lowerAscii(text: string): string {
  return text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}
