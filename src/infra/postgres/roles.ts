import { chown, rename, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { retry } from "../back-off.ts";
import type { ClusterFolder } from "./cluster-folder.ts";
import type { ProcessIdentity } from "./process-identity.ts";

/** Name of the service's database. */
const EMBEDDED_DATABASE = "device_ota";

/** The roles of the embedded server. None has a password. */
export const EMBEDDED_ROLES = {
  /** The cluster's first role, under the name that it always had. It makes the other roles at each start, and nothing else. */
  superuser: "device_ota",
  /** Owns the database and its tables: migrations run as it. */
  owner: "device_ota_owner",
  /** What the service works as: it reads and writes rows. */
  service: "device_ota_service",
} as const;

/**
 * Writes who may connect: over the Unix socket alone, and only processes of the service's own user, whom the kernel names
 * (`peer`). Returns the server settings that make these files count, instead of those in the data directory.
 */
export async function writeAccessFiles(
  folder: ClusterFolder,
  identity: ProcessIdentity,
): Promise<Record<string, string>> {
  const roles = Object.values(EMBEDDED_ROLES);
  const user = `"${userInfo().username.replaceAll('"', '""')}"`;
  const write = async (name: string, lines: readonly string[]): Promise<string> => {
    const path = join(folder.home, name);
    await writeFile(`${path}.new`, `${lines.join("\n")}\n`, { mode: 0o600 });
    if (identity.owner !== undefined) await chown(`${path}.new`, identity.owner.uid, identity.owner.gid);
    await rename(`${path}.new`, path);
    return path;
  };
  return {
    hba_file: await write("pg_hba.conf", [`local all ${roles.join(",")} peer map=service`]),
    ident_file: await write(
      "pg_ident.conf",
      roles.map((role) => `service ${user} ${role}`),
    ),
  };
}

/** The connection string of a role, over the socket in that folder. */
export function socketUrl(socketFolder: string, role: string, database = EMBEDDED_DATABASE): string {
  return `postgres://${role}@${encodeURIComponent(socketFolder)}/${database}`;
}

/**
 * Makes the roles and the database, and takes over what an earlier version of the service made, which did everything as
 * superuser with a password: the password is taken away, and the tables get their owner. Repeating it changes nothing.
 */
export async function ensureRoles(socketFolder: string): Promise<void> {
  await asSuperuser(socketFolder, "postgres", async (client) => {
    await client.query(makeRolesSql);
    const { rowCount } = await client.query("SELECT 1 FROM pg_database WHERE datname = $1", [
      EMBEDDED_DATABASE,
    ]);
    // Not possible in a transaction, and so not in the block above.
    if (rowCount === 0) await client.query(`CREATE DATABASE ${EMBEDDED_DATABASE} OWNER ${owner}`);
    await client.query(`ALTER DATABASE ${EMBEDDED_DATABASE} OWNER TO ${owner};
      REVOKE ALL ON DATABASE ${EMBEDDED_DATABASE} FROM PUBLIC;
      GRANT CONNECT ON DATABASE ${EMBEDDED_DATABASE} TO ${service}`);
  });
  // Whoever was cut off when the server stopped is back by now, and may hold the tables in another order.
  await retry(
    () =>
      asSuperuser(socketFolder, EMBEDDED_DATABASE, async (client) => {
        await client.query(handOverSql);
      }),
    {
      baseMs: 100,
      capMs: 1_000,
      attempts: 10,
      isWorthRetrying: (error) => error instanceof pg.DatabaseError && error.code === deadlockDetected,
      signal: undefined,
    },
  );
}

const deadlockDetected = "40P01";

const { superuser, owner, service } = EMBEDDED_ROLES;

const makeRolesSql = `DO $$
  BEGIN
    IF to_regrole('${owner}') IS NULL THEN CREATE ROLE ${owner} LOGIN; END IF;
    IF to_regrole('${service}') IS NULL THEN CREATE ROLE ${service} LOGIN; END IF;
    IF EXISTS (SELECT FROM pg_authid WHERE rolname = '${superuser}' AND rolpassword IS NOT NULL) THEN
      ALTER ROLE ${superuser} PASSWORD NULL;
    END IF;
  END $$`;

/** One transaction. What belongs to a table, such as its indexes and the sequences of its columns, goes with it. */
const handOverSql = `DO $$
  DECLARE name text;
  BEGIN
    FOR name IN SELECT oid::regclass FROM pg_class
                 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
                   AND relowner = '${superuser}'::regrole LOOP
      EXECUTE format('ALTER TABLE %s OWNER TO ${owner}', name);
    END LOOP;
    FOR name IN SELECT oid::regprocedure FROM pg_proc
                 WHERE pronamespace = 'public'::regnamespace AND proowner = '${superuser}'::regrole LOOP
      EXECUTE format('ALTER ROUTINE %s OWNER TO ${owner}', name);
    END LOOP;
  END $$`;

/** Handing over the tables of a large folder takes a moment; only a broken disk takes this long. */
const TIMEOUT_MS = 60_000;

async function asSuperuser(
  socketFolder: string,
  database: string,
  work: (client: pg.Client) => Promise<void>,
): Promise<void> {
  const client = new pg.Client({
    connectionString: socketUrl(socketFolder, superuser, database),
    connectionTimeoutMillis: TIMEOUT_MS,
    query_timeout: TIMEOUT_MS,
  });
  // Without a handler a connection that dies would end the process. Its queries fail by themselves.
  client.on("error", () => undefined);
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
