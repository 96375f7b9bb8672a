import { execFile } from "node:child_process";
import { chown, mkdir, mkdtemp, open, readdir, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { EmbeddedPostgresError } from "./embedded-postgres-error.ts";
import type { PostgresBinaries } from "./postgres-binaries.ts";
import type { ProcessIdentity } from "./process-identity.ts";
import { EMBEDDED_ROLES } from "./roles.ts";

const execFileAsync = promisify(execFile);

/**
 * The folder of one embedded PostgreSQL:
 *
 *     owner.lock, owner.pid   who runs on it
 *     socket/                 where the server listens while it runs
 *     pg_hba.conf, pg_ident.conf   who may connect
 *     cluster/                PostgreSQL's data directory, bound to one major version
 *     init-XXXXXX/            a data directory in the making
 */
export interface ClusterFolder {
  readonly home: string;
  readonly cluster: string;
}

/** Makes the folder if need be. Throws {@link EmbeddedPostgresError} when it cannot be made or written. */
export async function openClusterFolder(dataDir: string): Promise<ClusterFolder> {
  const wanted = resolve(dataDir);
  try {
    // Under root the postgres user has to pass through, but never to list.
    await mkdir(wanted, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
    const home = await realpath(wanted);
    const probe = await mkdtemp(join(home, "init-"));
    await rm(probe, { recursive: true });
    return { home, cluster: join(home, "cluster") };
  } catch (error) {
    throw new EmbeddedPostgresError(
      `the data folder ${wanted} cannot be written (${(error as Error).message}); ` +
        "make it writable for the service's user, or choose another",
      { cause: error },
    );
  }
}

/**
 * Makes the data directory if there is none yet.
 *
 * A crash at any point leaves either no `cluster` (the next start begins again and removes the remains) or a whole one: it
 * is made under another name and renamed. The caller holds the folder's lock.
 */
export async function ensureCluster(
  folder: ClusterFolder,
  binaries: PostgresBinaries,
  identity: ProcessIdentity,
  signal?: AbortSignal,
): Promise<void> {
  await removeUnfinished(folder);
  if (await exists(folder.cluster)) await checkVersion(folder, binaries);
  else await initialise(folder, binaries, identity, signal);
}

/** Removes the superuser's password, which earlier versions of the service kept here. It opens nothing any more. */
export async function removePassword(folder: ClusterFolder): Promise<void> {
  await rm(join(folder.home, "password"), { force: true });
}

/** `initdb` takes about half a second; a slow SD card may take a minute. */
const INITDB_TIMEOUT_MS = 180_000;

async function initialise(
  folder: ClusterFolder,
  binaries: PostgresBinaries,
  identity: ProcessIdentity,
  signal: AbortSignal | undefined,
): Promise<void> {
  const workshop = await mkdtemp(join(folder.home, "init-"));
  const cluster = join(workshop, "cluster");
  const { owner } = identity;
  if (owner !== undefined) await chown(workshop, owner.uid, owner.gid);
  const [file, ...args] = [
    ...identity.prefix,
    binaries.initdb,
    `--pgdata=${cluster}`,
    `--username=${EMBEDDED_ROLES.superuser}`,
    // Should anybody start a server on it without our own rules.
    "--auth-local=peer",
    "--auth-host=reject",
    "--encoding=UTF8",
    // Compiled into the server: sorts the same on every machine, whatever locales that one has.
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
    "--data-checksums",
    "--no-instructions",
  ];
  try {
    await execFileAsync(file as string, args, {
      ...identity.user,
      cwd: "/",
      env: postgresEnvironment(),
      timeout: INITDB_TIMEOUT_MS,
      ...(signal === undefined ? {} : { signal }),
    });
    await rename(cluster, folder.cluster);
    await syncFolder(folder.home);
  } catch (error) {
    signal?.throwIfAborted();
    const output = (error as { stderr?: string }).stderr?.trim();
    throw new EmbeddedPostgresError(
      `the database in ${folder.home} cannot be made: ${output || (error as Error).message}`,
      { cause: error },
    );
  } finally {
    await rm(workshop, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A small, fixed environment: PGPORT, PGOPTIONS and the like of the service's shell must not reach the server. */
export function postgresEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };
}

async function checkVersion(folder: ClusterFolder, binaries: PostgresBinaries): Promise<void> {
  const file = join(folder.cluster, "PG_VERSION");
  const found = (await readOptional(file))?.trim();
  if (found === String(binaries.majorVersion)) return;
  if (found === undefined) {
    throw new EmbeddedPostgresError(
      `${folder.cluster} is not a PostgreSQL data directory: ${file} is missing`,
    );
  }
  throw new EmbeddedPostgresError(
    `the data folder ${folder.home} belongs to PostgreSQL ${found}, but this service brings PostgreSQL ` +
      `${binaries.majorVersion}; take a backup with the service version that made it (device-ota backup) and ` +
      "restore it into another data folder, or choose another one",
  );
}

async function removeUnfinished(folder: ClusterFolder): Promise<void> {
  for (const name of await readdir(folder.home)) {
    if (!name.startsWith("init-")) continue;
    await rm(join(folder.home, name), { recursive: true, force: true, maxRetries: 5 });
  }
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
