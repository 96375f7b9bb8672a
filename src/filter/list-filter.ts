import { type Parameters } from "../infra/database/parameters.ts";
import { joined, type Sql, sql } from "../infra/database/sql.ts";
import {
  type FieldPath,
  type Filter,
  type FilterField,
  type FilterTest,
  type FilterTime,
  parseFilter,
} from "./filter.ts";
import {
  comparisonSql,
  equality,
  fixedMillisecond,
  itemTest,
  type Millisecond,
  type Parameter,
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
    return { text, sql: (parameters) => this.#condition(filter, parameters.add.bind(parameters)) };
  }

  #condition(filter: Filter<string>, add: Parameter): Sql {
    switch (filter.kind) {
      case "all":
        return sql`(true)`;
      case "and":
      case "or": {
        const operands = filter.operands.map((operand) => this.#condition(operand, add));
        return sql`(${joined(operands, filter.kind === "and" ? sql` AND ` : sql` OR `)})`;
      }
      case "not":
        // What is not known is NULL, as in filters of devices, and matches here.
        return sql`(NOT coalesce(${this.#condition(filter.operand, add)}, false))`;
      case "choice": {
        const { column, stored } = this.#field(filter.field);
        const value = stored?.[filter.value] ?? filter.value;
        return sql`(${column} ${equality(filter.negated)} ${add(value, "text")})`;
      }
      default:
        return sql`(${this.#test(filter, add)})`;
    }
  }

  #test(test: FilterTest<string>, add: Parameter): Sql {
    if (test.kind === "search") {
      const columns = this.#searched.map((name) => this.#field({ name }).column);
      return searchTest(columns, test.text, add);
    }
    const column = this.#columnOf(test.field, add);
    switch (test.kind) {
      case "present":
        return this.#present(test.field, column);
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
      case "flag":
        return sql`${column} = ${add(test.value, "boolean")}`;
    }
  }

  #columnOf({ name, key }: FieldPath, add: Parameter): Sql {
    const { column } = this.#field({ name });
    return key === undefined ? column : sql`(${column} ->> ${add(key, "text")})`;
  }

  #present({ name, key }: FieldPath, column: Sql): Sql {
    const { kind } = this.#field({ name });
    if (key !== undefined) return sql`${column} IS NOT NULL`;
    if (kind === "list") return sql`cardinality(${column}) > 0`;
    if (kind === "text_map") return sql`${column} <> '{}'::jsonb`;
    return kind === "text" || kind === "version" ? sql`${column} <> ''` : sql`${column} IS NOT NULL`;
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
