import { join } from "node:path";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { entities } from "../entities.ts";
import { type Clock, systemClock } from "../infra/clock.ts";
import { Database } from "../infra/database/database.ts";
import { migrateUp } from "../infra/database/migrate.ts";
import { RequestLedger } from "../infra/database/request-ledger.ts";
import { Metrics } from "../infra/metrics.ts";
import { LocalObjectStore } from "../infra/objects/local-object-store.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import { S3ObjectStore } from "../infra/objects/s3-object-store.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../infra/postgres/embedded-postgres.ts";

/** What every feature stands on. */
export interface Foundation {
  readonly config: Config;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** With its password. */
  readonly databaseUrl: string;
  readonly database: Database;
  readonly store: ObjectStore;
  readonly ledger: RequestLedger;
}

/** Opens database and object store, migrates, and begins to keep house. What it opened is closed with `opened`. */
export async function openFoundation(
  config: Config,
  logger: Logger,
  opened: AsyncDisposableStack,
): Promise<Foundation> {
  const metrics = new Metrics({ processMetrics: true });

  const databaseUrl = config.databaseUrl ?? (await embeddedDatabase(config, logger, opened)).url;
  await migrateUp(databaseUrl, { logger });
  const database = opened.use(await Database.connect({ url: databaseUrl, logger, entities }));
  const store = opened.use(objectStore(config));
  const ledger = new RequestLedger();
  opened.use(housekeeping(database, ledger, store, logger));
  return { config, logger, clock: systemClock, metrics, databaseUrl, database, store, ledger };
}

/** What nobody touched for this long is thrown away, in an hourly round. */
const staleUploadMs = 24 * 3_600_000;

const housekeepingMs = 3_600_000;

async function embeddedDatabase(
  config: Config,
  logger: Logger,
  opened: AsyncDisposableStack,
): Promise<EmbeddedPostgres> {
  return opened.use(await startEmbeddedPostgres({ dataDir: join(config.dataDir, "postgres"), logger }));
}

function objectStore({ storage, dataDir }: Config): ObjectStore {
  if (storage.type === "local") return new LocalObjectStore(storage.basePath, systemClock);
  return new S3ObjectStore(
    {
      endpoint: storage.endpoint ?? `https://s3.${storage.region}.amazonaws.com`,
      bucket: storage.bucket,
      accessKey: storage.accessKey ?? "",
      secretKey: storage.secretKey ?? "",
      region: storage.region,
      stagingFolder: join(dataDir, "staging"),
    },
    systemClock,
  );
}

/** Forgets old request ids and abandoned uploads, at start and every hour. */
function housekeeping(
  database: Database,
  ledger: RequestLedger,
  store: ObjectStore,
  logger: Logger,
): Disposable {
  const round = async () => {
    try {
      await ledger.purge(database.em());
      await store.collectStale(staleUploadMs);
    } catch (error) {
      logger.warn({ err: error }, "housekeeping failed; the next round tries again");
    }
  };
  void round();
  const timer = setInterval(() => void round(), housekeepingMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
