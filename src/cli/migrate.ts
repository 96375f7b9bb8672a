import { join } from "node:path";
import pg from "pg";
import { migrateDown, migrateUp, pendingMigrations } from "../infra/database/migrate.ts";
import { createLogger } from "../infra/logger.ts";
import { startEmbeddedPostgres } from "../infra/postgres/embedded-postgres.ts";
import { CliError, exitCodes } from "./failure.ts";
import { countText } from "./format.ts";
import { serviceConfig } from "./service-settings.ts";
import type { Cli } from "./session.ts";

/** What the `migrate` commands share. */
export interface MigrateOptions {
  readonly dataDir: string;
  readonly json?: boolean;
}

/** Prints the migrations that are still to be run; fails with `precondition` if there are any. */
export async function showMigrations(cli: Cli, options: MigrateOptions): Promise<void> {
  await withDatabase(cli, options, async (url, say) => {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: connectTimeoutMs });
    await client.connect();
    try {
      const pending = await pendingMigrations(client);
      say("pending", pending);
      if (pending.length > 0) {
        throw new CliError(exitCodes.precondition, `${countText(pending.length, "migration")} to be run`);
      }
    } finally {
      await client.end();
    }
  });
}

/** Brings the schema up to date. */
export async function runMigrations(cli: Cli, options: MigrateOptions): Promise<void> {
  await withDatabase(cli, options, async (url, say) =>
    say("ran", await migrateUp(url, { signal: cli.signal })),
  );
}

/** Takes the last migration back, or all. */
export async function undoMigrations(cli: Cli, options: MigrateOptions, all: boolean): Promise<void> {
  await withDatabase(cli, options, async (url, say) => {
    say("took back", await migrateDown(url, { signal: cli.signal, to: all ? "nothing" : "previous" }));
  });
}

type Say = (verb: string, names: readonly string[]) => void;

/** How long a database may take to answer before the operator is told. */
const connectTimeoutMs = 10_000;

async function withDatabase(
  cli: Cli,
  { dataDir, json }: MigrateOptions,
  work: (url: string, say: Say) => Promise<void>,
): Promise<void> {
  const config = serviceConfig(cli.env, { DEVICE_OTA_DATA_DIR: dataDir });
  const say: Say = (verb, names) => {
    if (json === true) cli.terminal.out(JSON.stringify({ [verb.replaceAll(" ", "_")]: names }));
    else
      cli.terminal.out(
        names.length === 0 ? "The schema is as it should be: nothing to do." : `${verb}: ${names.join(", ")}`,
      );
  };
  if (config.databaseUrl !== undefined) return work(config.databaseUrl, say);
  await using embedded = await startEmbeddedPostgres({
    dataDir: join(config.dataDir, "postgres"),
    // Standard output is the answer.
    logger: createLogger({ level: "error", pretty: false, destination: process.stderr }),
    signal: cli.signal,
  });
  await work(embedded.url, say);
}
