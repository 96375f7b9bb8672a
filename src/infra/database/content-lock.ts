import type { Pool } from "./pool.ts";
import type { Session } from "./session.ts";
import { sql } from "./sql.ts";

/**
 * Locks a content of the object store until the transaction ends: whoever removes it looks under this lock whether a row names it.
 */
export async function lockContent(session: Session, sha256: string): Promise<void> {
  await session.run(lockSql, [contentLock, sha256]);
}

/**
 * Waits for whoever may be removing a content. Once a row that names the content is committed, and this was waited for after that, nobody
 * removes it any more: what the store has then, it keeps.
 */
export async function settledContent(pool: Pick<Pool, "transact">, sha256: string): Promise<void> {
  await pool.transact(async (session) => void (await session.run(sharedSql, [contentLock, sha256])));
}

/** The first half of the advisory locks of contents. */
const contentLock = 0x63_6f_6e_74;

const lockSql = sql`SELECT pg_advisory_xact_lock($1::int, hashtext($2))`;

const sharedSql = sql`SELECT pg_advisory_xact_lock_shared($1::int, hashtext($2))`;
