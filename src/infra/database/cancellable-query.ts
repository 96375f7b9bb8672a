import type pg from "pg";
import { sessionOn } from "./session.ts";
import { type Sql, sql } from "./sql.ts";

/**
 * Runs a statement on a connection of the pool. If the signal aborts, the server is told to stop, and this throws the
 * signal's reason once it did: nothing goes on in the server for a caller who has left.
 */
export async function cancellableQuery<Row>(
  pool: pg.Pool,
  statement: Sql,
  values: readonly unknown[],
  signal: AbortSignal,
): Promise<Row[]> {
  return await cancellable(pool, signal, (client) => sessionOn(client).query<Row>(statement, values));
}

/** Likewise, for whatever runs one statement on the connection that it is given. */
export async function cancellable<Result>(
  pool: pg.Pool,
  signal: AbortSignal,
  run: (client: pg.PoolClient) => Promise<Result>,
): Promise<Result> {
  signal.throwIfAborted();
  const client = await pool.connect();
  let cancelling: Promise<unknown> | undefined;
  let failure: Error | undefined;
  const cancel = (): void => {
    cancelling = sessionOn(cancelPools.get(pool) ?? pool)
      .run(cancelSql, [processOf(client)])
      .catch((error: unknown) => {
        // Without the connection the server finds out by itself that nobody waits any more.
        failure = error as Error;
        client.release(failure);
      });
  };
  try {
    signal.throwIfAborted();
    signal.addEventListener("abort", cancel, { once: true });
    return await run(client);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error;
  } finally {
    signal.removeEventListener("abort", cancel);
    // A late cancellation must not hit what the connection is used for next.
    await cancelling;
    if (failure === undefined) client.release();
  }
}

/** Has statements of a pool cancelled on a connection of another one: their own may be used up by those that are to end. */
export function cancelBy(pool: pg.Pool, other: pg.Pool): void {
  cancelPools.set(pool, other);
}

const cancelPools = new WeakMap<pg.Pool, pg.Pool>();

const cancelSql = sql`SELECT pg_cancel_backend($1)`;

/** The server's process for a connection: pg has it since the handshake, its types do not. */
function processOf(client: pg.PoolClient): number {
  return (client as pg.PoolClient & { readonly processID: number }).processID;
}
