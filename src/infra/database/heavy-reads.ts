import type pg from "pg";
import { OtaError } from "../../errors.ts";
import { Turns } from "../turns.ts";
import { cancellableQuery } from "./cancellable-query.ts";
import { answerTimeoutMs, connectionSettings } from "./connection-settings.ts";
import type { ReadSession } from "./session.ts";
import type { Sql } from "./sql.ts";

/** Who reads. */
export interface HeavyReader {
  /** Stops the wait and the statement: nothing is read for a caller who has left. */
  readonly signal: AbortSignal;
  /** Of those with the same text here one reads at a time, and the others are refused. */
  readonly alone?: string | undefined;
}

/**
 * Reads whose cost grows with what is kept: they have few connections of their own, wait there in a bounded queue, and may
 * take the server only so long. So however many ask, heartbeats, update checks and readiness find their connections free.
 */
export class HeavyReads {
  readonly #pool: pg.Pool;
  readonly #turns: Turns;
  readonly #alone = new Set<string>();

  /** `pool`: of {@link heavyReadSettings} for as many `atOnce`. */
  constructor(pool: pg.Pool, atOnce: number) {
    this.#pool = pool;
    this.#turns = new Turns({ atOnce, maxWaiting, what: "long reads", retryAfterMs: statementTimeoutMs });
  }

  /** How many wait. */
  get waiting(): number {
    return this.#turns.waiting;
  }

  /**
   * What runs the statements of one reader. They throw `QUEUE_FULL` if too many wait, or if the reader may not read twice at
   * the same time, and `DEADLINE_EXCEEDED` if the server needs more than {@link statementTimeoutMs}.
   */
  for(reader: HeavyReader): ReadSession {
    return { query: (statement, values = []) => this.#query(reader, statement, values) };
  }

  async #query<Row>(
    { signal, alone }: HeavyReader,
    statement: Sql,
    values: readonly unknown[],
  ): Promise<Row[]> {
    if (alone !== undefined && this.#alone.has(alone)) throw readsAlready();
    if (alone !== undefined) this.#alone.add(alone);
    try {
      return await this.#turns.run(
        () => cancellableQuery<Row>(this.#pool, statement, values, signal),
        signal,
      );
    } catch (error) {
      if (!signal.aborted && (error as { code?: unknown }).code === queryCanceled) throw tooMuch(error);
      throw error;
    } finally {
      if (alone !== undefined) this.#alone.delete(alone);
    }
  }
}

/** The connections of {@link HeavyReads}: one more than read at once, so that a read can always be cancelled, also one of another pool. */
export function heavyReadSettings(url: string, atOnce: number): pg.PoolConfig {
  return {
    ...connectionSettings(url, "heavy reads"),
    max: atOnce + 1,
    statement_timeout: statementTimeoutMs,
    query_timeout: answerTimeoutMs(statementTimeoutMs),
    // A read on several cores would take those of everybody else.
    options: "-c max_parallel_workers_per_gather=0",
  };
}

/** What the server allows one of these reads: half of what it allows other statements, none of which comes near it. */
const statementTimeoutMs = 5_000;

/** Some seconds of work in a fleet of usual size. */
const maxWaiting = 64;

/** SQLSTATE of a statement that ran out of time. */
const queryCanceled = "57014";

function tooMuch(cause: unknown): OtaError {
  return new OtaError(
    "deadline_exceeded",
    "DEADLINE_EXCEEDED",
    "this takes too long to read; ask for fewer devices or a shorter time",
    { cause },
  );
}

function readsAlready(): OtaError {
  return new OtaError(
    "resource_exhausted",
    "QUEUE_FULL",
    "a device reads one thing after the other; wait for the answer to the read before",
    { retryAfterMs: 1_000 },
  );
}
