import type pg from "pg";
import { currentReader } from "../reader.ts";
import { type AdvisoryLock, lockNumber } from "./advisory-locks.ts";
import { cancellableQuery } from "./cancellable-query.ts";
import { answerTimeoutMs } from "./connection-settings.ts";
import { asDatabaseError, type RetryOptions, withRetry } from "./errors.ts";
import { type Session, sessionOn } from "./session.ts";
import { type Sql, sql } from "./sql.ts";

/** How a transaction is run. */
export interface TransactOptions {
  /** The advisory lock to wait for: of all transactions with it, on all replicas, one runs at a time. */
  readonly lock?: AdvisoryLock;
  /** Runs it again while it fails as `isRetryable` says; once only unless given. */
  readonly retry?: RetryOptions;
}

/** How a transaction of a {@link Pool} is run. */
export interface PoolTransactOptions extends TransactOptions {
  /** `SET LOCAL` for the transaction; sent together with BEGIN. */
  readonly settings?: Sql;
  /** What the server allows each statement, in milliseconds, if it is more than usual. */
  readonly statementTimeoutMs?: number;
}

/** A session on any connection of a pool of pg, and transactions on one of them. */
export class Pool implements Session {
  readonly #pool: pg.Pool;
  readonly #session: Session;

  constructor(pool: pg.Pool) {
    this.#pool = pool;
    this.#session = sessionOn(pool);
  }

  /** What is read for one caller alone ({@link currentReader}) ends in the server when that caller leaves. */
  query<Row>(statement: Sql, values: readonly unknown[] = []): Promise<Row[]> {
    const reader = currentReader();
    if (reader !== undefined) return this.cancellable(statement, values, reader.signal);
    return this.#session.query(statement, values);
  }

  run(statement: Sql, values?: readonly unknown[]): Promise<number> {
    return this.#session.run(statement, values);
  }

  /**
   * As {@link query}. If the signal aborts, the server is told to stop, and this throws the signal's reason once it did.
   */
  cancellable<Row>(statement: Sql, values: readonly unknown[], signal: AbortSignal): Promise<Row[]> {
    return cancellableQuery<Row>(this.#pool, statement, values, signal);
  }

  /** Runs `work` in a transaction: commits when it resolves, takes all back when it rejects. */
  async transact<T>(work: (session: Session) => Promise<T>, options: PoolTransactOptions = {}): Promise<T> {
    return await withRetry(() => this.#transact(locked(options.lock, work), options), options.retry ?? once);
  }

  /**
   * As {@link transact}, for work that one replica at a time does for all: without waiting, and not at all while another
   * holds that advisory lock. Returns whether it was done.
   */
  async inTurn(
    lock: AdvisoryLock,
    work: (session: Session) => Promise<void>,
    options: Omit<PoolTransactOptions, "lock"> = {},
  ): Promise<boolean> {
    return await this.transact(async (session) => {
      const isOurs = await takeTurn(session, lock);
      if (isOurs) await work(session);
      return isOurs;
    }, options);
  }

  async #transact<T>(
    work: (session: Session) => Promise<T>,
    { settings, statementTimeoutMs }: PoolTransactOptions,
  ): Promise<T> {
    const client = await this.#pool.connect();
    let broken = false;
    try {
      await client.query(beginText(settings, statementTimeoutMs));
      const result = await work(sessionOn(client, answerTimeoutMs(statementTimeoutMs)));
      await client.query("COMMIT");
      return result;
    } catch (error) {
      // Nobody can tell what state it is in after an outage, and a rollback might wait long for its answer.
      broken = asDatabaseError(error) !== undefined;
      if (!broken) {
        await client.query("ROLLBACK").catch(() => {
          broken = true;
        });
      }
      throw error;
    } finally {
      client.release(broken);
    }
  }
}

/** The work, after the wait for an advisory lock that the transaction then holds until its end. */
export function locked<T>(
  lock: AdvisoryLock | undefined,
  work: (session: Session) => Promise<T>,
): (session: Session) => Promise<T> {
  if (lock === undefined) return work;
  return async (session) => {
    await takeLock(session, lock);
    return await work(session);
  };
}

/** Waits for an advisory lock, and holds it until the transaction ends. */
export async function takeLock(session: Session, lock: AdvisoryLock): Promise<void> {
  await session.run(lockSql, [lockNumber(lock)]);
}

/** Takes an advisory lock until the transaction ends; false if another one holds it. */
export async function takeTurn(session: Session, lock: AdvisoryLock): Promise<boolean> {
  const [row] = await session.query<{ locked: boolean }>(tryLockSql, [lockNumber(lock)]);
  return row?.locked === true;
}

function beginText(settings: Sql | undefined, statementTimeoutMs: number | undefined): string {
  const timeout =
    statementTimeoutMs === undefined ? undefined : sql`SET LOCAL statement_timeout = ${statementTimeoutMs}`;
  return ["BEGIN", settings?.text, timeout?.text].filter((text) => text !== undefined).join("; ");
}

const once: RetryOptions = { attempts: 1 };

const lockSql = sql`SELECT pg_advisory_xact_lock($1)`;
const tryLockSql = sql`SELECT pg_try_advisory_xact_lock($1) AS locked`;
