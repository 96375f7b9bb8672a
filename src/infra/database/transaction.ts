import type pg from "pg";

/** Runs `work` in a transaction on a connection of its own. One that failed is thrown away, which rolls it back. */
export async function inTransaction<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const result = await work(client);
    await client.query("COMMIT");
    client.release();
    return result;
  } catch (error) {
    client.release(true);
    throw error;
  }
}

/**
 * As {@link inTransaction}, for work that only one replica does at a time: without waiting, and not at all while another
 * holds the advisory lock of that number. Returns whether it was done.
 */
export async function inTurn(
  pool: pg.Pool,
  lock: number,
  work: (client: pg.PoolClient) => Promise<void>,
): Promise<boolean> {
  return await inTransaction(pool, async (client) => {
    const { rows } = await client.query<{ locked: boolean }>(
      "SELECT pg_try_advisory_xact_lock($1) AS locked",
      [lock],
    );
    const locked = rows[0]?.locked === true;
    if (locked) await work(client);
    return locked;
  });
}
