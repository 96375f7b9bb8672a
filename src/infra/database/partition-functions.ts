import type { Session } from "./session.ts";
import { sql } from "./sql.ts";

/** A partition of a table, called after it and its first day: `device_heartbeats_20260131`. */
export interface PartitionName {
  readonly table: string;
  readonly name: string;
}

/** Makes the partition for `start` (inclusive) to `end` (exclusive) unless it is there. */
export async function makePartition(
  session: Session,
  { table, name, start, end }: PartitionName & { readonly start: Date; readonly end: Date },
): Promise<void> {
  await session.run(makeSql, [table, name, start.toISOString(), end.toISOString()]);
}

/** Drops the partition with its rows, if it is there. */
export async function dropPartition(session: Session, { table, name }: PartitionName): Promise<void> {
  await session.run(dropSql, [table, name]);
}

/**
 * Brings its BRIN indexes up to date. The newest pages are otherwise in no summary until the next vacuum, and are read in
 * vain.
 */
export async function summarizePartition(session: Session, { table, name }: PartitionName): Promise<void> {
  await session.run(summarizeSql, [table, name]);
}

// Functions of the migrations, with the rights of the tables' owner: the service's role may make and drop nothing else.
const makeSql = sql`SELECT make_time_partition($1, $2, $3, $4)`;
const dropSql = sql`SELECT drop_time_partition($1, $2)`;
const summarizeSql = sql`SELECT summarize_time_partition($1, $2)`;
