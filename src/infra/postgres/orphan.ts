import { execFile } from "node:child_process";
import { readdir, readFile, readlink, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { Logger } from "pino";
import { EmbeddedPostgresError } from "./embedded-postgres-error.ts";

const execFileAsync = promisify(execFile);

/**
 * Stops the PostgreSQL that a killed service left running on `cluster`, and returns whether there was one.
 *
 * It is stopped and started anew rather than adopted: then there is one way to supervise a server (as a child), its
 * settings and minor version are this service's, and transactions of the dead service are rolled back at once. A clean
 * stop costs less than a second. The caller holds the folder's lock, so whatever runs there belongs to no live service.
 */
export async function stopOrphan(cluster: string, logger: Logger, signal?: AbortSignal): Promise<boolean> {
  const pidFile = join(cluster, "postmaster.pid");
  const postmaster = await readPostmasterPid(pidFile);
  const found = await processesIn(cluster, postmaster);
  if (found.length > 0) await stopAll(cluster, postmaster, found, logger, signal);
  // Proven stale. PostgreSQL itself would refuse to start if a process of its user had got the same id since, or if
  // the dead postmaster's entry is never collected, as in a container without an init process.
  await rm(pidFile, { force: true });
  return found.length > 0;
}

/** First line of PostgreSQL's own lock file, or nothing. */
export async function readPostmasterPid(pidFile: string): Promise<number | undefined> {
  const pid = Number.parseInt((await readFile(pidFile, "utf8").catch(() => "")).split("\n")[0] ?? "", 10);
  return Number.isInteger(pid) && pid > 1 ? pid : undefined;
}

/**
 * PostgreSQL's shutdown modes: fast (checkpoint), immediate (recovers from WAL at the next start), and the last resort,
 * which recovers as well.
 */
export const STOP_STEPS: readonly { readonly signal: NodeJS.Signals; readonly waitMs: number }[] = [
  { signal: "SIGINT", waitMs: 30_000 },
  { signal: "SIGQUIT", waitMs: 5_000 },
  { signal: "SIGKILL", waitMs: 5_000 },
];

async function stopAll(
  cluster: string,
  postmaster: number | undefined,
  found: readonly number[],
  logger: Logger,
  signal: AbortSignal | undefined,
): Promise<void> {
  let running = found;
  logger.warn({ pids: running }, "a killed service left its PostgreSQL running: stopping it");
  for (const step of STOP_STEPS) {
    // Backends without a postmaster end by themselves; they only get the harder signals.
    const targets = step.signal === "SIGINT" ? running.filter((pid) => pid === postmaster) : running;
    for (const pid of targets) sendSignal(pid, step.signal);
    const deadline = performance.now() + step.waitMs;
    while (performance.now() < deadline) {
      running = await processesIn(cluster, postmaster);
      if (running.length === 0) return;
      await delay(POLL_MS, undefined, signal === undefined ? {} : { signal });
    }
    logger.warn({ pids: running, after: step.signal }, "the orphaned PostgreSQL has not stopped yet");
  }
  throw new EmbeddedPostgresError(
    `a PostgreSQL (process ${running.join(", ")}) still runs on ${cluster} and cannot be stopped; end it by hand`,
  );
}

const POLL_MS = 25;

/** Sends a signal; false if there is no such process. */
function sendSignal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/**
 * Server processes of the data directory. Every one of them has it as working directory, which on Linux identifies
 * them without trusting a process id from a file; elsewhere only the postmaster is found, by its command line.
 */
async function processesIn(cluster: string, postmaster: number | undefined): Promise<number[]> {
  if (process.platform !== "linux") {
    if (postmaster === undefined) return [];
    const ps = await execFileAsync("ps", ["-o", "command=", "-p", String(postmaster)]).catch(() => undefined);
    return ps?.stdout.includes(cluster) === true ? [postmaster] : [];
  }
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(
    pids.map(async (pid) => {
      const folder = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
      if (folder !== cluster) return false;
      return (await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")).trim() === "postgres";
    }),
  );
  return pids.filter((_, index) => found[index]);
}
