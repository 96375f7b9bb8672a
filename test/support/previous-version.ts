import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Program } from "./run-cli.ts";

const run = promisify(execFile);

const root = join(import.meta.dirname, "../..");
const migrations = "src/infra/database/migrations";

/** The sources of the service as they were before the last change of the schema, with the packages of this tree. */
export interface PreviousVersion extends AsyncDisposable {
  readonly program: Program;
}

/**
 * Takes them out of git's history, without network. Undefined where there is no such history: in an archive, and in a clone
 * that is too shallow.
 */
export async function takePreviousVersion(): Promise<PreviousVersion | undefined> {
  const commit = await commitBeforeLastMigration();
  if (commit === undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), "device-ota-previous-"));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const archive = join(folder, "sources.tar");
    await git("archive", "--output", archive, commit, "src", "gen", "proto", "package.json");
    const sources = join(folder, "sources");
    await mkdir(sources);
    await run("tar", ["-xf", archive, "-C", sources]);
    await symlink(join(root, "node_modules"), join(sources, "node_modules"));
    return {
      program: [process.execPath, join(sources, "src/main.ts")],
      [Symbol.asyncDispose]: remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** The commit before the last one that changed a migration; in a shallow clone its oldest commit has none before it. */
async function commitBeforeLastMigration(): Promise<string | undefined> {
  try {
    const last = await git("log", "-1", "--format=%H", "--", migrations);
    return await git("rev-parse", "--verify", "--quiet", `${last}^`);
  } catch {
    return undefined;
  }
}

async function git(...args: string[]): Promise<string> {
  return (await run("git", args, { cwd: root })).stdout.trim();
}
