import { type EntityManager, RawQueryFragment } from "@mikro-orm/postgresql";
import type pg from "pg";
import type { Sql } from "./sql.ts";

/**
 * What runs statements: a pool, on any of its connections, or one transaction. Whoever is given one does not know which.
 * Values come back as pg reads them, the same from each: a timestamptz as a Date, a bigint or a numeric as text.
 */
export interface Session {
  /** Runs a statement; returns its rows. */
  query<Row>(statement: Sql, values?: readonly unknown[]): Promise<Row[]>;
  /** Runs a statement; returns how many rows it wrote, or returned. */
  run(statement: Sql, values?: readonly unknown[]): Promise<number>;
}

/** What runs statements that only read. */
export type ReadSession = Pick<Session, "query">;

/**
 * A session on what pg runs queries on: a pool, or a connection in a transaction.
 *
 * @param answerTimeoutMs how long to wait for an answer; by default as the connection's settings say
 */
export function sessionOn(connection: Pick<pg.ClientBase, "query">, answerTimeoutMs?: number): Session {
  const always = answerTimeoutMs === undefined ? {} : { query_timeout: answerTimeoutMs };
  const send = (statement: Sql, values: readonly unknown[]): Promise<pg.QueryResult> =>
    connection.query({
      ...always,
      text: statement.text,
      values: values as unknown[],
      ...(statement.name === undefined ? {} : { name: statement.name }),
    });
  return {
    query: async <Row>(statement: Sql, values: readonly unknown[] = []) =>
      (await send(statement, values)).rows as Row[],
    run: async (statement, values = []) => (await send(statement, values)).rowCount ?? 0,
  };
}

/** A session in the transaction of an entity manager, or on the ORM's pool while it has none. */
export function sessionOf(em: EntityManager): Session {
  return {
    query: <Row>(statement: Sql, values: readonly unknown[] = []) =>
      em.execute<object[]>(new NumberedQuery(statement, values)) as Promise<Row[]>,
    run: async (statement, values = []) =>
      (await em.execute<{ affectedRows: number }>(new NumberedQuery(statement, values), [], "run"))
        .affectedRows,
  };
}

/** A statement with parameters `$1`, `$2`, on its way through the ORM, whose own have question marks. */
export class NumberedQuery extends RawQueryFragment {
  constructor(statement: Sql, values: readonly unknown[]) {
    super(statement.text, [...values]);
  }
}
