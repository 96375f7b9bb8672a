import type { Config } from "../config.ts";
import type { DatabaseUrls } from "../infra/database/service-role.ts";
import { createLogger } from "../infra/logger.ts";
import { startEmbeddedPostgres } from "../infra/postgres/embedded-postgres.ts";
import { FolderInUseError } from "../infra/postgres/embedded-postgres-error.ts";
import { runningPostgres } from "../infra/postgres/running-postgres.ts";
import { serviceConfig } from "./service-settings.ts";
import type { Cli } from "./session.ts";

/** Where the database is looked for. */
export interface LocalDatabaseOptions {
  readonly dataDir: string;
}

/** The settings that `serve` would have. */
export function localConfig(cli: Cli, { dataDir }: LocalDatabaseOptions): Config {
  return serviceConfig(cli.env, { DEVICE_OTA_DATA_DIR: dataDir });
}

/**
 * Works on the database that `serve` would use: DEVICE_OTA_DATABASE_URL, or else the embedded PostgreSQL in the data folder,
 * which is started for as long as `work` takes and so must not be in use by a running service; or, `besideService`, may be.
 */
export async function withLocalDatabase(
  cli: Cli,
  options: LocalDatabaseOptions & { readonly besideService?: boolean },
  work: (urls: DatabaseUrls) => Promise<void>,
): Promise<void> {
  const { databaseUrl, migrationDatabaseUrl, postgresDir } = localConfig(cli, options);
  if (databaseUrl !== undefined)
    return work({ serviceUrl: databaseUrl, ownerUrl: migrationDatabaseUrl ?? databaseUrl });
  const embedded = await startEmbeddedPostgres({
    dataDir: postgresDir,
    // Standard output is the answer.
    logger: createLogger({ level: "error", pretty: false, destination: process.stderr }),
    signal: cli.signal,
  }).catch((error: unknown) => {
    if (options.besideService === true && error instanceof FolderInUseError) return undefined;
    throw error;
  });
  if (embedded === undefined) return work(await runningPostgres(postgresDir));
  await using _stopped = embedded;
  await work(embedded);
}
