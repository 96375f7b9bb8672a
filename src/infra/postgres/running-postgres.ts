import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { EmbeddedPostgresError } from "./embedded-postgres-error.ts";
import { EMBEDDED_ROLES, socketUrl } from "./roles.ts";

/**
 * The ways to the embedded PostgreSQL that another process of the same user runs on the data folder, for work beside it.
 * Throws {@link EmbeddedPostgresError} if it is not ready.
 */
export async function runningPostgres(
  dataDir: string,
): Promise<{ readonly serviceUrl: string; readonly ownerUrl: string }> {
  // PostgreSQL's own account of itself: process, folder, start, port, socket's folder, address, shared memory, state.
  const file = join(resolve(dataDir), "cluster", "postmaster.pid");
  const lines = (await readFile(file, "utf8").catch(() => "")).split("\n").map((line) => line.trim());
  const [socketFolder = "", state] = [lines[4], lines[7]];
  if (socketFolder === "" || state !== "ready")
    throw new EmbeddedPostgresError(
      `the database in ${dataDir} is in use and not ready: try again in a moment`,
    );
  return {
    serviceUrl: socketUrl(socketFolder, EMBEDDED_ROLES.service),
    ownerUrl: socketUrl(socketFolder, EMBEDDED_ROLES.owner),
  };
}
