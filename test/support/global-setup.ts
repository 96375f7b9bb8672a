import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { access, constants, mkdtemp, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { TestProject } from "vitest/node";
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
  }
}

/**
 * Gives every integration test of the run one PostgreSQL: the server of DEVICE_OTA_TEST_DATABASE_URL, whose role must
 * be allowed to create databases, or an embedded one in a temporary folder. The migrations run once, into a template.
 */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  await using cleanup = new AsyncDisposableStack();
  // Hundreds of databases are made and dropped: in memory that takes half the time. Workers inherit the setting.
  if (process.env["TMPDIR"] === undefined && (await isRoomy(memoryFolder)))
    process.env["TMPDIR"] = memoryFolder;
  const ownServer = process.env["DEVICE_OTA_TEST_DATABASE_URL"];
  const { databaseUrl, serviceUrl } =
    ownServer === undefined ? await startShared(cleanup) : { databaseUrl: ownServer, serviceUrl: ownServer };
  const templateDatabase = `template_${randomBytes(6).toString("hex")}`;
  await execute(databaseUrl, `CREATE DATABASE ${templateDatabase}`);
  cleanup.defer(() => execute(databaseUrl, `DROP DATABASE IF EXISTS ${templateDatabase} WITH (FORCE)`));
  await migrate(withDatabase(databaseUrl, templateDatabase), withDatabase(serviceUrl, templateDatabase));
  project.provide("databaseUrl", databaseUrl);
  project.provide("serviceUrl", serviceUrl);
  project.provide("templateDatabase", templateDatabase);
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

async function startShared(
  cleanup: AsyncDisposableStack,
): Promise<{ databaseUrl: string; serviceUrl: string }> {
  const folder = await mkdtemp(join(tmpdir(), "device-ota-tests-"));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const server = await startEmbeddedPostgres({
    dataDir: join(folder, "postgres"),
    logger: createLogger({ level: "error", pretty: false }),
    // What these tests write need not outlive them. Tests of durability start a server of their own.
    settings: { fsync: "off", synchronous_commit: "off", full_page_writes: "off" },
  });
  cleanup.use(server);
  return { databaseUrl: asSuperuser(server), serviceUrl: server.serviceUrl };
}

async function migrate(url: string, serviceUrl: string): Promise<void> {
  const file = join(import.meta.dirname, "../../src/infra/database/migrate.ts");
  if (!existsSync(file)) return;
  const { migrateUp } = (await import(file)) as {
    migrateUp: (url: string, options: { serviceUrl: string }) => Promise<unknown>;
  };
  await migrateUp(url, { serviceUrl });
}
