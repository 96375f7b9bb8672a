import type pg from "pg";

/** Runs a statement, whose text holds no values, and sees how it ends. */
export type StatementWatch = <T>(text: string, run: () => Promise<T>) => Promise<T>;

/**
 * Has each statement of a pool watched, and those of its connections. Whoever asks for a promise is watched, at the place where it
 * asks: a pool itself asks its connections by callbacks, which may run on behalf of another caller. COPY goes by streams and is
 * not watched.
 */
export function watchStatements(pool: pg.Pool, watch: StatementWatch): void {
  watchQueries(pool, watch);
  pool.on("connect", (client) => watchQueries(client, watch));
}

type Query = (...args: unknown[]) => unknown;

function watchQueries(target: Pick<pg.ClientBase, "query">, watch: StatementWatch): void {
  const query = target.query.bind(target) as unknown as Query;
  const watched: Query = (...args) => {
    const text = textOf(args[0]);
    if (text === undefined || typeof args.at(-1) === "function") return query(...args);
    return watch(text, () => query(...args) as Promise<unknown>);
  };
  target.query = watched as unknown as pg.ClientBase["query"];
}

/** Undefined for a stream, which pg calls to submit itself. */
function textOf(query: unknown): string | undefined {
  if (typeof query === "string") return query;
  const { text, submit } = query as { readonly text?: unknown; readonly submit?: unknown };
  return typeof text === "string" && submit === undefined ? text : undefined;
}
