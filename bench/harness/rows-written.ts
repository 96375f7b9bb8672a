import type pg from "pg";

/**
 * Inserts and updates of these tables while `work` runs, by triggers that stand only meanwhile: PostgreSQL's own
 * statistics come up to ten seconds late.
 */
export async function rowsWritten(
  database: pg.Client,
  tables: readonly string[],
  work: () => Promise<unknown>,
): Promise<number> {
  await database.query(`
    CREATE TABLE bench_written (count bigint NOT NULL);
    CREATE FUNCTION bench_count() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO bench_written SELECT count(*) FROM written;
      RETURN NULL;
    END $$;
    ${tables.map(triggersOn).join("\n")}`);
  try {
    await work();
    const { rows } = await database.query<{ written: string }>(
      "SELECT coalesce(sum(count), 0) AS written FROM bench_written",
    );
    return Number(rows[0]?.written);
  } finally {
    await database.query("DROP FUNCTION bench_count() CASCADE; DROP TABLE bench_written");
  }
}

function triggersOn(table: string): string {
  return ["insert", "update"]
    .map(
      (
        event,
      ) => `CREATE TRIGGER bench_count_${event} AFTER ${event} ON ${table} REFERENCING NEW TABLE AS written
        FOR EACH STATEMENT EXECUTE FUNCTION bench_count();`,
    )
    .join("\n");
}
