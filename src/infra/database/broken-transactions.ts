import type { ClientBase, PoolClient } from "pg";

/**
 * Has a connection of a pool closed, and its place in the pool freed, when a transaction on it cannot be begun or rolled
 * back: nobody can tell what state it is in. Kysely, on which the ORM stands, releases no connection after such a failure
 * (https://github.com/kysely-org/kysely/issues/1990), so each restart of the server under load would take places out of
 * the pool for good.
 */
export function closeOnBrokenTransaction(client: ClientBase): void {
  const query = client.query.bind(client) as (...args: unknown[]) => unknown;
  const watched = (...args: unknown[]): unknown => {
    const result = query(...args);
    if (typeof args[0] === "string" && boundaries.test(args[0]) && result instanceof Promise) {
      result.catch(() => (client as PoolClient).release(true));
    }
    return result;
  };
  client.query = watched as ClientBase["query"];
}

/** Whole statements as Kysely writes them; a savepoint that fails is followed by the rollback of the whole. */
const boundaries = /^(?:begin|start transaction\b.*|rollback)$/;
