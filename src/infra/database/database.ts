import { type EntityManager, MikroORM, type Options } from "@mikro-orm/postgresql";
import pg from "pg";
import { OtaError } from "../../errors.ts";
import { Alarm } from "../alarm.ts";
import type { BackgroundWork } from "../background/work-log.ts";
import type { Logger } from "../logger.ts";
import { closeOnBrokenTransaction } from "./broken-transactions.ts";
import { cancelBy } from "./cancellable-query.ts";
import { connectionSettings, defaultPoolSizes, type PoolSizes } from "./connection-settings.ts";
import { asDatabaseError, withRetry } from "./errors.ts";
import { HeavyReads, heavyReadSettings } from "./heavy-reads.ts";
import { type ChannelHandler, Listener } from "./listener.ts";
import { databaseName, pendingMigrations } from "./migrate.ts";
import { Notifier } from "./notifier.ts";
import { OrmDriver } from "./orm-driver.ts";
import { locked, Pool, type TransactOptions } from "./pool.ts";
import { type Session, sessionOf } from "./session.ts";
import { sql } from "./sql.ts";
import { type StatementWatch, watchStatements } from "./watched-statements.ts";

/** How to reach the database. */
export interface DatabaseOptions {
  /** A PostgreSQL connection URL: of a TCP server or of a Unix socket (`?host=/folder`). */
  readonly url: string;
  readonly logger: Logger;
  /** Every entity of the service. */
  readonly entities: NonNullable<Options["entities"]>;
  readonly poolSizes?: Partial<PoolSizes>;
  /** How often the connection that listens makes sure that it still hears, in milliseconds; 10 s unless given. */
  readonly listenCheckMs?: number;
  /** Sees each statement; undefined where nobody looks. */
  readonly watch?: StatementWatch | undefined;
}

/** The pools, each for one kind of work. */
type PoolName = "orm" | "ingest" | "admin" | "heavy_reads";

/** How full a pool of connections is. */
export interface PoolUse {
  readonly name: PoolName;
  /** Connections at work. */
  readonly used: number;
  readonly idle: number;
  /** Callers who wait for one. */
  readonly waiting: number;
  /** The most connections that it may have. */
  readonly most: number;
}

/**
 * The service's PostgreSQL: pools that cannot starve each other, and one connection that listens. Every wait has a
 * time-out, and a server that goes away fails the calls that need it but never the process.
 */
export class Database implements AsyncDisposable {
  readonly orm: MikroORM;
  /** For heartbeat ingest alone: COPY and its transaction. Plain pg, with pg's own type parsers. */
  readonly ingestPool: pg.Pool;
  /** What {@link pool} runs on. Plain pg, with pg's own type parsers. */
  readonly adminPool: pg.Pool;
  /** For hand-written SQL outside the ORM. */
  readonly pool: Pool;
  /** For reads that cost much. */
  readonly heavyReads: HeavyReads;
  readonly #heavyPool: pg.Pool;
  readonly #pools: Map<PoolName, pg.Pool>;
  readonly #listener: Listener;
  readonly #notifier: Notifier;
  readonly #logger: Logger;
  #closing: Promise<void> | undefined;

  /** Connects, and makes sure that the server answers: UNAVAILABLE if it does not within seconds. */
  static async connect(options: DatabaseOptions): Promise<Database> {
    const sizes = { ...defaultPoolSizes, ...options.poolSizes };
    const pools = new Map<PoolName, pg.Pool>();
    const heavyPool = createPool(heavyReadSettings(options.url, sizes.heavyReads), options.logger);
    pools.set("heavy_reads", heavyPool);
    const orm = await MikroORM.init({
      driver: OrmDriver,
      entities: options.entities,
      dbName: databaseName(options.url),
      driverOptions: {
        ...connectionSettings(options.url, "orm"),
        max: sizes.orm,
        onConnect: closeOnBrokenTransaction,
        // The ORM makes it with its first statement.
        onPoolCreated: (pool: pg.Pool) => {
          pools.set("orm", pool);
          cancelBy(pool, heavyPool);
          if (options.watch !== undefined) watchStatements(pool, options.watch);
        },
      },
      // A firmware that was deleted must not hide the history of the devices that had it.
      filtersOnRelations: false,
      autoJoinRefsForFilters: false,
      // A row that was just made reads as one that was loaded: null, not undefined.
      initNullableProperties: true,
      // Triggers and functions are the migrations' own, and no concern of the entities.
      schemaGenerator: { ignoreTriggers: true, ignoreRoutines: true },
      logger: (message) => options.logger.debug(message),
      colors: false,
    });
    const database = new Database(orm, options, sizes, pools, heavyPool);
    try {
      await database.ping(AbortSignal.timeout(firstAnswerMs));
      return database;
    } catch (error) {
      await database.close();
      throw error;
    }
  }

  private constructor(
    orm: MikroORM,
    options: DatabaseOptions,
    sizes: PoolSizes,
    pools: Map<PoolName, pg.Pool>,
    heavyPool: pg.Pool,
  ) {
    const { url, logger, listenCheckMs: checkEveryMs = 10_000 } = options;
    this.orm = orm;
    this.#pools = pools;
    this.#logger = logger;
    this.ingestPool = createPool({ ...connectionSettings(url, "ingest"), max: sizes.ingest }, logger);
    this.adminPool = createPool({ ...connectionSettings(url, "admin"), max: sizes.admin }, logger);
    this.pool = new Pool(this.adminPool);
    this.#heavyPool = heavyPool;
    cancelBy(this.adminPool, heavyPool);
    this.heavyReads = new HeavyReads(this.#heavyPool, sizes.heavyReads);
    if (options.watch !== undefined) {
      for (const pool of [this.ingestPool, this.adminPool, this.#heavyPool])
        watchStatements(pool, options.watch);
    }
    pools.set("ingest", this.ingestPool).set("admin", this.adminPool);
    this.#listener = new Listener({ url, logger, checkEveryMs });
    this.#notifier = new Notifier(this.pool, logger);
  }

  /** How full the pools are. */
  get pools(): readonly PoolUse[] {
    return [...this.#pools].map(([name, pool]) => ({
      name,
      used: pool.totalCount - pool.idleCount,
      idle: pool.idleCount,
      waiting: pool.waitingCount,
      most: pool.options.max,
    }));
  }

  /** What goes on by itself. */
  get background(): readonly BackgroundWork[] {
    return [this.#notifier.writer, this.#listener.round];
  }

  /** A fresh entity manager for one unit of work: never one for a stream's life, its memory of entities only grows. */
  em(): EntityManager {
    return this.orm.em.fork();
  }

  /**
   * Runs `work` in a transaction of the ORM, with an entity manager of its own and a session for hand-written SQL in the
   * same transaction: commits when it resolves, takes all back when it rejects.
   */
  async transact<T>(
    work: (em: EntityManager, session: Session) => Promise<T>,
    { lock, retry = { attempts: 1 } }: TransactOptions = {},
  ): Promise<T> {
    return await withRetry(
      () =>
        this.em().transactional(async (em) => {
          const session = sessionOf(em);
          return await locked(lock, () => work(em, session))(session);
        }),
      retry,
    );
  }

  /** Subscribes to a channel on the listening connection; returns how to stop. See {@link ChannelHandler}. */
  listen(channel: string, handler: ChannelHandler): () => void {
    return this.#listener.listen(channel, handler);
  }

  /**
   * Tells all replicas, this one too, within a fraction of a second; equal notifications become one. The payload holds
   * ids only. Call it after the commit, never inside a transaction. It may get lost: listeners poll as well.
   */
  notify(channel: string, payload: string): void {
    this.#notifier.notify(channel, payload);
  }

  /** Asks the server for a sign of life; throws DATABASE_UNAVAILABLE if there is none before the signal aborts. */
  async ping(signal: AbortSignal): Promise<void> {
    await this.#answer(() => this.pool.run(sql`SELECT 1`), signal);
  }

  /**
   * Writes a row and commits it, and asks on a connection of the ORM as well; throws DATABASE_UNAVAILABLE, with words, if
   * either does not come to an end before the signal aborts: a standby and a full disk answer questions all the same, and a
   * pool that is used up answers none of its callers.
   */
  async probeWrite(signal: AbortSignal): Promise<void> {
    const both = () => Promise.all([this.pool.run(writeProbeSql), sessionOf(this.em()).run(sql`SELECT 1`)]);
    await this.#answer(both, signal);
  }

  async #answer(ask: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      signal.throwIfAborted();
      await Promise.race([ask(), aborted]);
    } catch (error) {
      throw asDatabaseError(error) ?? this.#unreachable(error);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #unreachable(cause: unknown): OtaError {
    // Reads that cost much wait for each other as a rule.
    const full = this.pools.find(
      ({ name, used, most, waiting }) => name !== "heavy_reads" && waiting > 0 && used >= most,
    );
    const why =
      full === undefined
        ? "did not answer"
        : `has no connection free: all ${full.most} of the pool ${full.name} are in use`;
    return new OtaError("unavailable", "DATABASE_UNAVAILABLE", `the database ${why}`, {
      retryAfterMs: 1_000,
      cause,
    });
  }

  /** The names of migrations that the database still needs. */
  pendingMigrations(): Promise<string[]> {
    return pendingMigrations(this.pool);
  }

  /**
   * Sends the notifications that wait, lets running queries end and disconnects; after {@link goodbyeMs} at the latest
   * it leaves the rest to the end of the process. May be called more than once.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await this.#notifier.close();
    const goodbye = Promise.all([
      this.#listener.close(),
      this.ingestPool.end(),
      this.adminPool.end(),
      this.#heavyPool.end(),
      this.orm.close(true),
    ]);
    const closed = new AbortController();
    const timeUp = new Alarm().wait(goodbyeMs, closed.signal).then(() => {
      if (!closed.signal.aborted) this.#logger.warn("database connections did not close in time");
    });
    try {
      await Promise.race([goodbye, timeUp]);
    } finally {
      closed.abort();
    }
  }
}

/** One row for all replicas, so that nothing grows. */
const writeProbeSql = sql`
  INSERT INTO write_probe (id, written_at) VALUES (1, clock_timestamp())
  ON CONFLICT (id) DO UPDATE SET written_at = EXCLUDED.written_at`;

/** How long closing may take: a server that cannot be reached answers no goodbye. */
const goodbyeMs = 5_000;

/** How long a server may take to answer first: one wait for a connection and a little. */
const firstAnswerMs = 5_000;

function createPool(settings: pg.PoolConfig, logger: Logger): pg.Pool {
  const pool = new pg.Pool(settings);
  // Without handlers a connection that dies, idle or at work, would end the process. Its queries fail by themselves.
  const onError = (err: Error & { client?: unknown }): void => {
    // The whole connection, with every statement that it prepared: ten times what else is to be said.
    delete err.client;
    logger.warn({ err, pool: settings.application_name }, "lost a database connection");
  };
  pool.on("error", onError);
  pool.on("connect", (client) => client.on("error", onError));
  return pool;
}
