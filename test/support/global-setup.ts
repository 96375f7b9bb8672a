import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { access, constants, mkdtemp, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import type { TestProject } from "vitest/node";
import { systemClock } from "../../src/infra/clock.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/infra/postgres/embedded-postgres.ts";
import { EMBEDDED_ROLES } from "../../src/infra/postgres/roles.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** A database of the shared server from which others can be made. */
    databaseUrl: string;
    /** The same as the role that the service works as, which reads and writes rows alone; on a server of your own the same. */
    serviceUrl: string;
    /** A migrated database that nobody connects to, to be cloned. */
    templateDatabase: string;
    /** The same with the partitions of these days, as each start of a service leaves them. */
    partitionedTemplate: string;
  }
}

/**
 * Gives every integration test of the run one PostgreSQL: the server of DEVICE_OTA_TEST_DATABASE_URL, whose role must
 * be allowed to create databases, or an embedded one in a temporary folder. The migrations run once, into a template.
 * The command line, which many tests run, is built of the sources as they are.
 */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  await using cleanup = new AsyncDisposableStack();
  // Hundreds of databases are made and dropped: in memory that takes half the time. Workers inherit the setting.
  if (process.env["TMPDIR"] === undefined && (await isRoomy(memoryFolder)))
    process.env["TMPDIR"] = memoryFolder;
  await buildCommandLine();
  project.onTestsRerun(buildCommandLine);
  const ownServer = process.env["DEVICE_OTA_TEST_DATABASE_URL"];
  const { databaseUrl, serviceUrl } =
    ownServer === undefined ? await startShared(cleanup) : { databaseUrl: ownServer, serviceUrl: ownServer };
  const templateDatabase = await createTemplate(databaseUrl, cleanup);
  await migrate(withDatabase(databaseUrl, templateDatabase), withDatabase(serviceUrl, templateDatabase));
  const partitionedTemplate = await createTemplate(databaseUrl, cleanup, templateDatabase);
  await makePartitions(withDatabase(serviceUrl, partitionedTemplate));
  project.provide("databaseUrl", databaseUrl);
  project.provide("serviceUrl", serviceUrl);
  project.provide("templateDatabase", templateDatabase);
  project.provide("partitionedTemplate", partitionedTemplate);
  const tearDown = cleanup.move();
  return () => tearDown.disposeAsync();
}

/** The same server, another database. */
export function withDatabase(url: string, database: string): string {
  const other = new URL(url);
  other.pathname = `/${database}`;
  return other.href;
}

/** The same as the role that may do everything, which the embedded server itself gives to nobody. */
export function asSuperuser(server: Pick<EmbeddedPostgres, "ownerUrl">): string {
  const url = new URL(server.ownerUrl);
  url.username = EMBEDDED_ROLES.superuser;
  return url.href;
}

/** Runs one statement on a connection of its own. */
export async function execute(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

/** A file system in memory that Linux machines have; in containers it is often tiny. */
const memoryFolder = "/dev/shm";

/** Ten times what a whole run of the integration tests holds at once. */
const wantedRoomBytes = 3 * 1024 ** 3;

async function isRoomy(folder: string): Promise<boolean> {
  try {
    await access(folder, constants.W_OK);
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize >= wantedRoomBytes;
  } catch {
    return false;
  }
}

async function buildCommandLine(): Promise<void> {
  const [root, run] = [join(import.meta.dirname, "../.."), promisify(execFile)];
  try {
    await run(join(root, "bin/is-built"));
  } catch {
    await run(process.execPath, [join(root, "scripts/build-command-line.ts")]);
  }
}

async function startShared(
  cleanup: AsyncDisposableStack,
): Promise<{ databaseUrl: string; serviceUrl: string }> {
  const folder = await mkdtemp(join(tmpdir(), "device-ota-tests-"));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const server = await startEmbeddedPostgres({
    dataDir: join(folder, "postgres"),
    logger,
    // What these tests write need not outlive them. Tests of durability start a server of their own.
    settings: {
      fsync: "off",
      synchronous_commit: "off",
      full_page_writes: "off",
      wal_compression: "off",
      // Several services for each worker.
      max_connections: "200",
    },
  });
  cleanup.use(server);
  return { databaseUrl: asSuperuser(server), serviceUrl: server.serviceUrl };
}

/** A database that others are made of; of another one, or empty. */
async function createTemplate(url: string, cleanup: AsyncDisposableStack, of = "template1"): Promise<string> {
  const name = `template_${randomBytes(6).toString("hex")}`;
  await execute(url, `CREATE DATABASE ${name} TEMPLATE ${of}`);
  cleanup.defer(() => execute(url, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
  return name;
}

// What these two need is imported when they run, as every worker imports this file for the functions above.

async function migrate(url: string, serviceUrl: string): Promise<void> {
  const { migrateUp } = await import("../../src/infra/database/migrate.ts");
  await migrateUp(url, { serviceUrl });
}

async function makePartitions(url: string): Promise<void> {
  const { Pool } = await import("../../src/infra/database/pool.ts");
  const { HeartbeatPartitions } = await import("../../src/heartbeat/partitions.ts");
  const { rollupPartitions } = await import("../../src/telemetry/telemetry.ts");
  const connections = new pg.Pool({ connectionString: url, max: 1 });
  try {
    const parts = { pool: new Pool(connections), clock: systemClock, logger };
    const retention = { fiveMinuteRollupDays: 0, oneHourRollupDays: 0 };
    const { fiveMinutes, oneHour } = rollupPartitions({ ...parts, retention });
    for (const each of [new HeartbeatPartitions({ ...parts, retentionDays: 0 }), fiveMinutes, oneHour])
      await each.maintain();
  } finally {
    await connections.end();
  }
}

const logger = createLogger({ level: "error", pretty: false });
