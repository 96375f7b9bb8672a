import { type Parameters } from "../infra/database/parameters.ts";
import { type Sql, sql } from "../infra/database/sql.ts";
import {
  type ChoiceTest,
  type FieldPath,
  type FilterField,
  type FilterTest,
  type FilterTime,
  parseFilter,
} from "./filter.ts";
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
  textTest,
  timeTest,
} from "./filter-sql.ts";

/** A field that the filter of a list can name, and where it stands in the list's statement. */
export interface ListField extends Omit<FilterField, "name"> {
  /** The column, or what is made of some. An empty text counts as none. */
  readonly column: Sql;
  /** What the database has for each value of a choice; unless given, the value itself. */
  readonly stored?: Readonly<Record<string, string>>;
}

/** A filter that was read, and waits for its statement. Two of the same text are the same to page tokens. */
export interface ListCondition {
  /** As it was written. */
  readonly text: string;
  /** The condition for WHERE, in brackets; it may be NULL, which WHERE takes for false. */
  sql(parameters: Pick<Parameters, "add">): Sql;
}

/** The filter of a list: one table of fields, in the language of all filters (docs/filters.md). */
export class ListFilter {
  /** The fields by name, in the order of the documentation. */
  readonly fields: ReadonlyMap<string, FilterField & ListField>;
  readonly #searched: readonly string[];

  /** `searched`: the fields in which a bare text is looked for. */
  constructor(fields: Readonly<Record<string, ListField>>, searched: readonly string[]) {
    this.fields = new Map(Object.entries(fields).map(([name, field]) => [name, { name, ...field }]));
    this.#searched = searched;
  }

  /**
   * Reads a filter; undefined for a blank one. Throws `INVALID_FILTER` with the place and what was expected there.
   */
  read(text: string): ListCondition | undefined {
    const filter = parseFilter(text, { fields: this.fields, searched: this.#searched }, "filter");
    if (filter.kind === "all") return undefined;
    return {
      text,
      sql: (parameters) => {
        const add = parameters.add.bind(parameters);
        return conditionSql(filter, (test) => this.#test(test, add));
      },
    };
  }

  #test(test: FilterTest<string> | ChoiceTest<string>, add: Parameter): Sql {
    if (test.kind === "search") {
      const columns = this.#searched.map((name) => this.#field({ name }).column);
      return searchTest(columns, test.text, add);
    }
    const { column: whole, kind, stored } = this.#field(test.field);
    const column = entryOf(whole, test.field, add);
    switch (test.kind) {
      case "present":
        // An empty version is none either.
        return presentTest(kind === "version" ? "text" : kind, test.field, column);
      case "text":
        return textTest(column, test.pattern, test.negated, add);
      case "item":
        return itemTest(column, test.pattern, add);
      case "id":
        return sql`${column} ${equality(test.negated)} ${add(test.id, "uuid")}`;
      case "number":
        return sql`${column} ${comparisonSql[test.comparison]} ${add(test.value, "double precision")}`;
      case "time":
        return timeTest(column, test.comparison, millisecond(test.value, add));
      case "version":
        return sql`semver_key(${column}) COLLATE "C" ${comparisonSql[test.comparison]} ${add(test.key, "text")}`;
      case "choice":
        return sql`${column} ${equality(test.negated)} ${add(stored?.[test.value] ?? test.value, "text")}`;
      case "flag":
        return sql`${column} = ${add(test.value, "boolean")}`;
    }
  }

  #field({ name }: Pick<FieldPath, "name">): ListField {
    const field = this.fields.get(name);
    if (field === undefined) throw new Error(`a filter names ${name}, which is no field of the list`);
    return field;
  }
}

/** Ages count back from when the statement is asked, by the clock of the database. */
function millisecond(value: FilterTime, add: Parameter): Millisecond {
  if ("sinceEpochMs" in value) return fixedMillisecond(value.sinceEpochMs, add);
  const before = (ms: number) => sql`(now() - ${add(ms, "double precision")} * interval '1 millisecond')`;
  return { from: () => before(value.agoMs), until: () => before(value.agoMs - 1) };
}
