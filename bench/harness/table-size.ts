import type pg from "pg";

/** The bytes of a table with its partitions and indexes. */
export async function sizeOf(database: pg.Client, table: string): Promise<number> {
  const { rows } = await database.query<{ bytes: string }>(
    "SELECT sum(pg_total_relation_size(relid)) AS bytes FROM pg_partition_tree($1::regclass) WHERE isleaf",
    [table],
  );
  return Number(rows[0]?.bytes ?? 0);
}
