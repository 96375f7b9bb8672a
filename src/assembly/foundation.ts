import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { entities } from "../entities.ts";
import { OtaError } from "../errors.ts";
import { Background } from "../infra/background/background.ts";
import { type MachineClock, systemClock } from "../infra/clock.ts";
import { ClockWatch } from "../infra/clock-watch.ts";
import { Database } from "../infra/database/database.ts";
import { DatabaseClock } from "../infra/database/database-clock.ts";
import { whenDatabaseAnswers } from "../infra/database/first-answer.ts";
import { IdempotencyKeys } from "../infra/database/idempotency-keys.ts";
import { migrateUp } from "../infra/database/migrate.ts";
import type { DatabaseUrls } from "../infra/database/service-role.ts";
import type { StatementWatch } from "../infra/database/watched-statements.ts";
import { Descriptors } from "../infra/descriptors.ts";
import { Metrics } from "../infra/metrics.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import { countStoreCalls } from "../infra/objects/store-metrics.ts";
import { StoreProbe } from "../infra/objects/store-probe.ts";
import { type StoreWatch, WatchedObjectStore } from "../infra/objects/watched-object-store.ts";
import { startEmbeddedPostgres } from "../infra/postgres/embedded-postgres.ts";
import { openTracing, type Tracing } from "../infra/tracing/tracing.ts";
import { objectStore } from "./object-store.ts";

/** What every feature stands on. */
export interface Foundation {
  readonly config: Config;
  readonly logger: Logger;
  /** The database's clock, which all replicas share. */
  readonly clock: MachineClock;
  /** Tells when the machine slept, the service stood still or the wall clock was set. */
  readonly clockWatch: ClockWatch;
  readonly metrics: Metrics;
  /** Undefined where nothing is traced. */
  readonly tracing: Tracing | undefined;
  /** All that goes on by itself. */
  readonly background: Background;
  /** How many files and connections are open. */
  readonly descriptors: Descriptors;
  /** As the role that the service works as, with its password. */
  readonly databaseUrl: string;
  readonly database: Database;
  readonly store: ObjectStore;
  /** Whether the store can be written to. */
  readonly storeProbe: StoreProbe;
  readonly idempotency: IdempotencyKeys;
}

/**
 * Opens database and object store, migrates, and begins to keep house. What it opened is closed with `opened`. `machine`: the
 * clocks of the machine, which need not be right. `signal` ends the wait for a database, and for who else migrates it.
 */
export async function openFoundation(
  config: Config,
  logger: Logger,
  opened: AsyncDisposableStack,
  { machine = systemClock, signal }: { readonly machine?: MachineClock; readonly signal?: AbortSignal } = {},
): Promise<Foundation> {
  const metrics = new Metrics({ processMetrics: true });
  const tracing = config.tracing && opened.use(await openTracing(config.tracing, logger));

  const { serviceUrl: databaseUrl, ownerUrl } = await databaseUrls(config, { logger, signal }, opened);
  const connect = async () => {
    await migrateUp(ownerUrl, { logger, signal, serviceUrl: databaseUrl });
    return await Database.connect({
      url: databaseUrl,
      logger,
      entities,
      listenCheckMs: config.outages.listenCheckMs,
      watch: watchStatements(tracing),
    });
  };
  const waitMs = config.outages.databaseWaitMs;
  const database = opened.use(await whenDatabaseAnswers(connect, { waitMs, logger, signal }));
  const storeWatch = watchStore(countStoreCalls(metrics.store, machine), tracing);
  const store = opened.use(new WatchedObjectStore(await objectStore(config), storeWatch));
  await tellOfStore(store, config, logger);
  const idempotency = new IdempotencyKeys();
  const background = opened.use(new Background({ clock: machine, logger }));
  metrics.background(() => background.logs);
  for (const work of database.background) background.add(work);
  showPools(metrics, database);
  const descriptors = new Descriptors({ percent: config.descriptorsPercent, clock: machine, logger });
  background.add(descriptors.round);
  descriptors.round.start();
  const clock = await DatabaseClock.start({ pool: database.pool, machine, logger });
  background.add(clock.round);
  metrics.observe(
    "machine_clock_ahead_seconds",
    "By how much this machine's clock is ahead of the database's, which counts; negative if it is behind.",
    () => clock.machineAheadMs / 1_000,
  );
  background.round({
    name: "housekeeping",
    everyMs: housekeepingMs,
    atOnce: true,
    work: async () => {
      await idempotency.purge(database.pool);
      await store.collectStale(staleUploadMs);
    },
  });
  return {
    config,
    logger,
    clock,
    clockWatch: watchClock(machine, background, metrics, logger),
    metrics,
    tracing,
    background,
    descriptors,
    databaseUrl,
    database,
    store,
    storeProbe: new StoreProbe({ store, goodForMs: config.outages.writeProbeMs, clock }),
    idempotency,
  };
}

/** What nobody touched for this long is thrown away, in an hourly round. */
const staleUploadMs = 24 * 3_600_000;

const housekeepingMs = 3_600_000;

/** Those of the settings, or else of the embedded PostgreSQL, which this starts. */
async function databaseUrls(
  { databaseUrl, migrationDatabaseUrl, postgresDir }: Config,
  start: { readonly logger: Logger; readonly signal?: AbortSignal | undefined },
  opened: AsyncDisposableStack,
): Promise<DatabaseUrls> {
  if (databaseUrl !== undefined)
    return { serviceUrl: databaseUrl, ownerUrl: migrationDatabaseUrl ?? databaseUrl };
  return opened.use(await startEmbeddedPostgres({ dataDir: postgresDir, ...start }));
}

/** Statements are traced where the service is. */
function watchStatements(tracing: Tracing | undefined): StatementWatch | undefined {
  if (tracing === undefined) return undefined;
  return (text, run) =>
    tracing.within("postgresql", { "db.system.name": "postgresql", "db.query.text": text }, run);
}

/** Store calls are counted always, and traced where the service is. */
function watchStore(count: StoreWatch, tracing: Tracing | undefined): StoreWatch {
  if (tracing === undefined) return count;
  return (operation, call) => tracing.within(`store ${operation}`, {}, () => count(operation, call));
}

function showPools(metrics: Metrics, database: Pick<Database, "pools">): void {
  metrics.observeEach(
    "database_connections",
    "Connections to the database by pool and state, used or idle.",
    ["pool", "state"],
    () =>
      database.pools.flatMap(({ name: pool, used, idle }) => [
        [{ pool, state: "used" }, used] as const,
        [{ pool, state: "idle" }, idle] as const,
      ]),
  );
  metrics.observeEach(
    "database_connections_limit",
    "The most connections that a pool may have.",
    ["pool"],
    () => database.pools.map(({ name: pool, most }) => [{ pool }, most]),
  );
  metrics.observeEach("database_connection_waiters", "What waits for a connection, by pool.", ["pool"], () =>
    database.pools.map(({ name: pool, waiting }) => [{ pool }, waiting]),
  );
}

/** Without its store the service still takes heartbeats: it starts, says what is wrong, and is not ready until it works. */
async function tellOfStore(store: ObjectStore, { storage }: Config, logger: Logger): Promise<void> {
  const place =
    storage.type === "local"
      ? { folder: storage.basePath }
      : { bucket: storage.bucket, region: storage.region, endpoint: storage.endpoint };
  await store.check(AbortSignal.timeout(firstProbeMs)).catch((err: unknown) => {
    const why = err instanceof OtaError ? err.message : "the object store does not answer";
    logger.error({ err, ...place }, `not ready: ${why}`);
  });
}

const firstProbeMs = 3_000;

/** Looks at the machine's clocks every second, and tells the log and the metrics of gaps. */
function watchClock(
  clock: MachineClock,
  background: Background,
  metrics: Metrics,
  logger: Logger,
): ClockWatch {
  const watch = new ClockWatch({ clock, lookEveryMs: clockLookMs });
  watch.onGap((gap) => {
    metrics.clock.deafSeconds.inc(gap.deafMs / 1_000);
    if (gap.steppedMs !== 0) metrics.clock.steps.inc();
    logger.warn(gap, "the machine slept, the service stood still or the wall clock was set");
  });
  background.round({ name: "clock", everyMs: clockLookMs, work: () => watch.look() });
  return watch;
}

const clockLookMs = 1_000;
