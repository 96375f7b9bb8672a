import { join } from "node:path";
import type { DatabaseUrls } from "../infra/database/service-role.ts";
import { createLogger } from "../infra/logger.ts";
import { startEmbeddedPostgres } from "../infra/postgres/embedded-postgres.ts";
import { serviceConfig } from "./service-settings.ts";
import type { Cli } from "./session.ts";

/** Where the database is looked for. */
export interface LocalDatabaseOptions {
  readonly dataDir: string;
}

/**
 * Works on the database that `serve` would use: DEVICE_OTA_DATABASE_URL, or else the embedded PostgreSQL in the data folder,
 * which is started for as long as `work` takes and so must not be in use by a running service.
 */
export async function withLocalDatabase(
  cli: Cli,
  { dataDir }: LocalDatabaseOptions,
  work: (urls: DatabaseUrls) => Promise<void>,
): Promise<void> {
  const config = serviceConfig(cli.env, { DEVICE_OTA_DATA_DIR: dataDir });
  const { databaseUrl, migrationDatabaseUrl } = config;
  if (databaseUrl !== undefined)
    return work({ serviceUrl: databaseUrl, ownerUrl: migrationDatabaseUrl ?? databaseUrl });
  await using embedded = await startEmbeddedPostgres({
    dataDir: join(config.dataDir, "postgres"),
    // Standard output is the answer.
    logger: createLogger({ level: "error", pretty: false, destination: process.stderr }),
    signal: cli.signal,
  });
  await work(embedded);
}
