import { dropPartition, makePartition } from "../infra/database/partition-functions.ts";
import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";

/**
 * The daily partitions of error_occurrences. Only the collector writes there, one replica at a time, so a day's partition is
 * made when its first occurrence comes, in the same transaction.
 */
export async function ensurePartitions(session: Session, days: ReadonlySet<string>): Promise<void> {
  for (const day of days) {
    const start = new Date(day);
    const end = new Date(start.getTime() + dayMs);
    await makePartition(session, { table, name: nameOf(day), start, end });
  }
}

/** Drops the partitions of days before `firstKept`; returns their names. */
export async function dropPartitionsBefore(session: Session, firstKept: Date): Promise<string[]> {
  const limit = nameOf(firstKept.toISOString().slice(0, 10));
  const rows = await session.query<{ name: string }>(partitionsSql);
  const old = rows.map(({ name }) => name).filter((name) => ours.test(name) && name < limit);
  for (const name of old) await dropPartition(session, { table, name });
  return old;
}

const partitionsSql = sql`
  SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = 'error_occurrences'::regclass ORDER BY c.relname`;

const table = "error_occurrences";
const ours = /^error_occurrences_\d{8}$/;
const dayMs = 24 * 3_600_000;

function nameOf(day: string): string {
  return `${table}_${day.replaceAll("-", "")}`;
}
