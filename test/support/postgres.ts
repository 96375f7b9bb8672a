import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { inject } from "vitest";
import { createLogger, type Logger } from "../../src/infra/logger.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/infra/postgres/embedded-postgres.ts";
import { readPostmasterPid } from "../../src/infra/postgres/orphan.ts";
import { asSuperuser, execute, withDatabase } from "./global-setup.ts";

/** A database of its own on the run's shared server. Disposing drops it, with the sessions that are still open. */
export interface TestDatabase extends AsyncDisposable {
  /** As a role that may do everything. */
  readonly url: string;
}

/**
 * Clones the migrated template: some ten milliseconds, and nothing of another test in it.
 *
 * @param options `partitioned`: with the partitions of these days, which a service would make when it starts
 */
export async function createTestDatabase(
  options: { readonly partitioned?: true } = {},
): Promise<TestDatabase & { readonly serviceUrl: string }> {
  const serverUrl = inject("databaseUrl");
  const name = `test_${randomBytes(8).toString("hex")}`;
  const template = inject(options.partitioned ? "partitionedTemplate" : "templateDatabase");
  const administration = administrationOf(serverUrl);
  // Without fsync a copy of the files takes a third of the time that writing them to the WAL takes.
  await administration.query(`CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY FILE_COPY`);
  return {
    url: withDatabase(serverUrl, name),
    /** As the role that the service works as. */
    serviceUrl: withDatabase(inject("serviceUrl"), name),
    [Symbol.asyncDispose]: async () => {
      await untilLeft(administration, name);
      await administration.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

/** The rows of a query on a connection of its own; of several statements, which take no values, none. */
export async function query<Row extends pg.QueryResultRow>(
  databaseUrl: string,
  text: string,
  values?: readonly unknown[],
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 10_000 });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return (await client.query<Row>(text, values && [...values])).rows;
  } finally {
    await client.end();
  }
}

/** A moment for sessions that are just ending: one that is thrown out tells its client, which may listen no more. */
async function untilLeft(administration: pg.Pool, name: string): Promise<void> {
  for (let tries = 0; tries < 20; tries++) {
    const { rowCount } = await administration.query("SELECT 1 FROM pg_stat_activity WHERE datname = $1", [
      name,
    ]);
    if (rowCount === 0) return;
    await delay(10);
  }
}

/** A database on the run's shared server in which no migration has run. */
export async function createEmptyDatabase(): Promise<TestDatabase> {
  const serverUrl = inject("databaseUrl");
  const name = `empty_${randomBytes(8).toString("hex")}`;
  await execute(serverUrl, `CREATE DATABASE ${name}`);
  return {
    url: withDatabase(serverUrl, name),
    [Symbol.asyncDispose]: () => execute(serverUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

/** Connections that a worker keeps: one for each database made or dropped would cost as much as that itself. */
function administrationOf(serverUrl: string): pg.Pool {
  administration ??= new pg.Pool({
    connectionString: serverUrl,
    // They wait for each other, on a machine that may be busy.
    connectionTimeoutMillis: 60_000,
    max: 2,
    allowExitOnIdle: true,
  });
  return administration;
}

let administration: pg.Pool | undefined;

/**
 * A server that a test may break: durable as in production, stopped, started and killed at will, always on the same
 * URL. Its database is empty.
 */
export class DedicatedPostgres implements AsyncDisposable {
  readonly url: string;
  readonly #dataDir: string;
  readonly #logger: Logger;
  #server: EmbeddedPostgres;

  static async start(logger = createLogger({ level: "silent", pretty: false })): Promise<DedicatedPostgres> {
    const dataDir = await mkdtemp(join(tmpdir(), "device-ota-postgres-"));
    return new DedicatedPostgres(dataDir, logger, await startEmbeddedPostgres({ dataDir, logger }));
  }

  private constructor(dataDir: string, logger: Logger, server: EmbeddedPostgres) {
    this.url = asSuperuser(server);
    this.#dataDir = dataDir;
    this.#logger = logger;
    this.#server = server;
  }

  /** Takes the server away until `startAgain`. */
  async stop(): Promise<void> {
    await this.#server.stop();
  }

  /** Brings a stopped server back on the same socket. */
  async startAgain(): Promise<void> {
    this.#server = await startEmbeddedPostgres({ dataDir: this.#dataDir, logger: this.#logger });
  }

  /** Kills the server as a crash would (SIGKILL to the postmaster); its supervisor brings it back by itself. */
  async crash(): Promise<void> {
    await crashPostmaster(this.#dataDir);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop();
    await rm(this.#dataDir, { recursive: true, force: true });
  }
}

/** SIGKILL to the postmaster that runs on the data folder; returns its process id. */
export async function crashPostmaster(dataDir: string): Promise<number> {
  const pid = await readPostmasterPid(join(dataDir, "cluster", "postmaster.pid"));
  if (pid === undefined) throw new Error(`no PostgreSQL runs on ${dataDir}`);
  process.kill(pid, "SIGKILL");
  return pid;
}
