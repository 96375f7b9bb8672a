import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, chmod, readFile, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { promisify } from "node:util";
import { EmbeddedPostgresError } from "./embedded-postgres-error.ts";

const execFileAsync = promisify(execFile);

/** The PostgreSQL that came with the packages. */
export interface PostgresBinaries {
  readonly postgres: string;
  readonly initdb: string;
  /** Major version, which a data folder is bound to. */
  readonly majorVersion: number;
}

/**
 * Finds the binaries in the platform package of `embedded-postgres`.
 *
 * The wrapper itself is not loaded: importing it installs handlers for signals and process exit that stop its servers
 * on their own time, in the middle of the service's drain, and it knows neither orphans nor locks.
 */
export async function findPostgresBinaries(): Promise<PostgresBinaries> {
  const folder = packageFolder();
  const bin = join(folder, "native", "bin");
  const postgres = join(bin, "postgres");
  const initdb = join(bin, "initdb");
  for (const file of [postgres, initdb]) await ensureExecutable(file);
  await ensureLinks(folder);
  const { stdout } = await execFileAsync(postgres, ["--version"], { timeout: VERSION_TIMEOUT_MS });
  const major = /\(PostgreSQL\) (\d+)/.exec(stdout)?.[1];
  if (major === undefined)
    throw new EmbeddedPostgresError(`${postgres} does not tell its version: ${stdout}`);
  return { postgres, initdb, majorVersion: Number(major) };
}

/** Printing the version takes milliseconds; only a broken disk takes this long. */
const VERSION_TIMEOUT_MS = 10_000;

function packageFolder(): string {
  const platform = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  const name = `@embedded-postgres/${platform}`;
  try {
    // Resolved from the wrapper, whose optional dependency it is, so that it need not be hoisted.
    const require = createRequire(import.meta.url);
    const wrapper = require.resolve("embedded-postgres");
    return dirname(dirname(createRequire(wrapper).resolve(name)));
  } catch (error) {
    throw new EmbeddedPostgresError(
      `no embedded PostgreSQL for ${platform} is installed (package ${name}); ` +
        "install it, or set DEVICE_OTA_DATABASE_URL to a PostgreSQL of your own",
      { cause: error },
    );
  }
}

/** Package managers that unpack without modes leave the binaries unexecutable. */
async function ensureExecutable(file: string): Promise<void> {
  try {
    await access(file, constants.X_OK);
  } catch {
    await chmod(file, 0o755);
  }
}

/**
 * Libraries are found by links, which packages cannot hold: a script of the package makes them, where npm runs scripts.
 */
async function ensureLinks(folder: string): Promise<void> {
  const list = await readFile(join(folder, "native", "pg-symlinks.json"), "utf8").catch(() => "[]");
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    try {
      await symlink(relative(dirname(target), source), join(folder, target));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}
