import type { EntityManager } from "@mikro-orm/postgresql";

/**
 * The daily partitions of error_occurrences. Only the collector writes there, one replica at a time, so a day's partition is
 * made when its first occurrence comes, in the same transaction.
 */
export async function ensurePartitions(em: EntityManager, days: ReadonlySet<string>): Promise<void> {
  for (const day of days) {
    const next = new Date(Date.parse(day) + dayMs).toISOString().slice(0, 10);
    await em.execute(
      `CREATE TABLE IF NOT EXISTS ${prefix}${day.replaceAll("-", "")} PARTITION OF error_occurrences
       FOR VALUES FROM ('${day}T00:00:00Z') TO ('${next}T00:00:00Z')`,
      [],
      "run",
    );
  }
}

/** Drops the partitions of days before `firstKept`; returns their names. */
export async function dropPartitionsBefore(em: EntityManager, firstKept: Date): Promise<string[]> {
  const limit = `${prefix}${firstKept.toISOString().slice(0, 10).replaceAll("-", "")}`;
  const rows = await em.execute<{ name: string }[]>(
    `SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'error_occurrences'::regclass ORDER BY c.relname`,
  );
  const old = rows.map(({ name }) => name).filter((name) => ours.test(name) && name < limit);
  for (const name of old) await em.execute(`DROP TABLE ${name}`, [], "run");
  return old;
}

const prefix = "error_occurrences_";
const ours = /^error_occurrences_\d{8}$/;
const dayMs = 24 * 3_600_000;
