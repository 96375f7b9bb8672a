import type pg from "pg";
import { query } from "../support/postgres.ts";

/** What a service that was written for a schema stands on: each thing by its name, with what it is. */
export interface Schema {
  /** Tables and views, by name. */
  readonly tables: ReadonlySet<string>;
  /** Columns, by `table.column`. */
  readonly columns: ReadonlyMap<string, Column>;
  /** Constraints and unique indexes, by name: what rows must fulfil. */
  readonly rules: ReadonlyMap<string, Rule>;
  /** Functions, by name and arguments, with what they return. Triggers' own are not called by any service. */
  readonly functions: ReadonlyMap<string, string>;
}

interface Column {
  readonly type: string;
  /** May not be null. */
  readonly isRequired: boolean;
  /** Has a value when an INSERT does not name it. */
  readonly isFilled: boolean;
}

interface Rule {
  readonly table: string;
  readonly columns: readonly string[];
  readonly definition: string;
}

/** Reads the catalogue, without the partitions, which come and go by themselves. */
export async function readSchema(databaseUrl: string): Promise<Schema> {
  const read = <R extends pg.QueryResultRow>(text: string) => query<R>(databaseUrl, text);
  const [tables, columns, rules, functions] = [
    await read<{ name: string }>(`SELECT relname AS name FROM ${tablesSql} c`),
    await read<{ name: string; type: string; required: boolean; filled: boolean }>(
      `SELECT c.relname || '.' || attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS required,
              atthasdef OR attidentity <> '' AS filled
         FROM ${tablesSql} c JOIN pg_attribute ON attrelid = c.oid WHERE attnum > 0 AND NOT attisdropped`,
    ),
    await read<{ name: string; table: string; columns: string[]; definition: string }>(
      `SELECT conname AS name, c.relname AS table, pg_get_constraintdef(k.oid) AS definition, ${columnsOf("conkey")} AS columns
         FROM ${tablesSql} c JOIN pg_constraint k ON conrelid = c.oid WHERE contype <> 'n'
       UNION ALL
       SELECT i.relname, c.relname, regexp_replace(pg_get_indexdef(i.oid), '^.* USING ', 'UNIQUE '), ${columnsOf("indkey::int2[]")}
         FROM ${tablesSql} c JOIN pg_index x ON indrelid = c.oid JOIN pg_class i ON i.oid = indexrelid
        WHERE indisunique AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = i.oid)`,
    ),
    await read<{ name: string; returns: string }>(
      `SELECT p.oid::regprocedure::text AS name, prorettype::regtype::text AS returns FROM pg_proc p
        WHERE pronamespace = current_schema()::regnamespace AND prorettype <> 'trigger'::regtype`,
    ),
  ];
  return {
    tables: new Set(tables.map(({ name }) => name)),
    columns: new Map(
      columns.map(({ name, type, required, filled }) => [
        name,
        { type, isRequired: required, isFilled: filled },
      ]),
    ),
    rules: new Map(rules.map(({ name, ...rule }) => [name, rule])),
    functions: new Map(functions.map(({ name, returns }) => [name, returns])),
  };
}

/**
 * What a migration from one schema to the other takes away from a service that was written for the first one and goes on
 * beside the new one: in words, nothing if the migration only expands. What rows of new tables must fulfil is no concern
 * of it.
 */
export function contractions(before: Schema, after: Schema): string[] {
  return [...goneOrOther(before, after), ...newDemands(before, after)].toSorted();
}

function* goneOrOther(before: Schema, after: Schema): Generator<string> {
  for (const table of before.tables) if (!after.tables.has(table)) yield `table ${table} is gone`;
  for (const [name, { type }] of before.columns) {
    const column = after.columns.get(name);
    if (!after.tables.has(tableOf(name))) continue;
    if (column === undefined) yield `column ${name} is gone`;
    else if (column.type !== type) yield `column ${name} was ${type} and is ${column.type}`;
  }
  // What an `INSERT … ON CONFLICT` may be written for.
  for (const [name, { table, definition }] of before.rules) {
    if (after.rules.has(name) || !after.tables.has(table) || !/^(UNIQUE|PRIMARY KEY)/.test(definition))
      continue;
    yield `table ${table} has the rule ${name} no more: ${definition}`;
  }
  for (const [name, returns] of before.functions) {
    const found = after.functions.get(name);
    if (found === undefined) yield `function ${name} is gone`;
    else if (found !== returns) yield `function ${name} returned ${returns} and returns ${found}`;
  }
}

function* newDemands(before: Schema, after: Schema): Generator<string> {
  for (const [name, { isRequired, isFilled }] of after.columns) {
    if (!before.tables.has(tableOf(name)) || !isRequired) continue;
    const earlier = before.columns.get(name);
    if (earlier === undefined && !isFilled) yield `column ${name} is new, required and has no default`;
    if (earlier?.isRequired === false) yield `column ${name} is required`;
    if (earlier?.isFilled === true && !isFilled) yield `column ${name} has no default any more`;
  }
  for (const [name, { table, columns, definition }] of after.rules) {
    if (!before.tables.has(table) || before.rules.get(name)?.definition === definition) continue;
    // Of new columns alone, with null for whoever does not know them, it demands nothing.
    const isNew = columns.every((column) => !before.columns.has(`${table}.${column}`));
    if (!isNew) yield `table ${table} has the rule ${name}: ${definition}`;
  }
}

function tableOf(column: string): string {
  return column.slice(0, column.indexOf("."));
}

const tablesSql = `(SELECT oid, relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace
  AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition AND relname <> 'mikro_orm_migrations')`;

function columnsOf(numbers: string): string {
  return `ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum = ANY (${numbers}))`;
}
