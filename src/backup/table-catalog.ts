import type { ReadSession } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";

/** A table of the schema as a copy sees it. */
export interface CopiedTable {
  readonly name: string;
  readonly columns: readonly string[];
  /** Of a table that is partitioned by time. */
  readonly partitions: readonly CopiedPartition[];
}

/** A partition, which has to be there before the rows are. */
interface CopiedPartition {
  readonly name: string;
  /** Its bounds as RFC 3339, the end excluded. */
  readonly start: string;
  readonly end: string;
}

/** A sequence and what it gave last. */
export interface CopiedSequence {
  readonly name: string;
  readonly lastValue: string;
  readonly isCalled: boolean;
}

/**
 * Every table with rows of the service, each after those that it refers to. The list of migrations is none of them: a
 * migrated database has its own.
 */
export async function copiedTables(session: ReadSession): Promise<CopiedTable[]> {
  const tables = await session.query<{ name: string; columns: string[] }>(tablesSql);
  const partitions = await session.query<CopiedPartition & { table: string }>(partitionsSql);
  const references = await session.query<{ from: string; to: string }>(referencesSql);
  const found = tables.map(({ name, columns }) => ({
    name,
    columns,
    partitions: partitions
      .filter(({ table }) => table === name)
      .map((partition) => ({ name: partition.name, start: partition.start, end: partition.end })),
  }));
  return inOrder(found, references);
}

/** Every sequence but the migrations'. */
export async function copiedSequences(session: ReadSession): Promise<CopiedSequence[]> {
  return await session.query<CopiedSequence>(sequencesSql);
}

/** Those that refer to nothing first. The schema has no circles; one would end in an error. */
function inOrder(
  tables: readonly CopiedTable[],
  references: readonly { readonly from: string; readonly to: string }[],
): CopiedTable[] {
  const placed = new Set<string>();
  const ordered: CopiedTable[] = [];
  while (ordered.length < tables.length) {
    const ready = tables.filter(
      ({ name }) =>
        !placed.has(name) &&
        references.every(({ from, to }) => from !== name || to === name || placed.has(to)),
    );
    if (ready.length === 0) throw new Error("tables refer to each other in a circle: no order is right");
    for (const table of ready) {
      placed.add(table.name);
      ordered.push(table);
    }
  }
  return ordered;
}

const tablesSql = sql`
  SELECT c.relname::text AS name,
         ARRAY(SELECT a.attname::text FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                ORDER BY a.attnum) AS columns
    FROM pg_class c
   WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
     AND c.relname <> 'mikro_orm_migrations'
   ORDER BY c.relname`;

/** In whole seconds: partitions begin and end at midnight. */
const asRfc3339 = (bound: number) =>
  sql`to_char(bound[${bound}]::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`;

const partitionsSql = sql`
  SELECT p.relname::text AS "table", c.relname::text AS name,
         ${asRfc3339(1)} AS start, ${asRfc3339(2)} AS "end"
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid
    JOIN pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
         AND p.relnamespace = current_schema()::regnamespace,
         regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM [(]''([^'']+)''[)] TO [(]''([^'']+)''[)]') bound
   ORDER BY c.relname`;

const referencesSql = sql`
  SELECT f.relname::text AS "from", t.relname::text AS "to"
    FROM pg_constraint r JOIN pg_class f ON f.oid = r.conrelid JOIN pg_class t ON t.oid = r.confrelid
   WHERE r.contype = 'f' AND r.connamespace = current_schema()::regnamespace AND NOT f.relispartition`;

const sequencesSql = sql`
  SELECT s.sequencename::text AS name, coalesce(s.last_value, s.start_value)::text AS "lastValue",
         s.last_value IS NOT NULL AS "isCalled"
    FROM pg_sequences s
   WHERE s.schemaname = current_schema() AND s.sequencename <> 'mikro_orm_migrations_id_seq'
   ORDER BY s.sequencename`;
