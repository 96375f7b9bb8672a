/**
 * A process that owns an embedded PostgreSQL, for tests that kill it. Prints one JSON line once the server runs, or
 * once it cannot; stops cleanly on SIGTERM.
 *
 * usage: node embedded-postgres-service.ts DATA_DIR
 */
import { once } from "node:events";
import { createLogger } from "../../src/infra/logger.ts";
import { startEmbeddedPostgres } from "../../src/infra/postgres/embedded-postgres.ts";

const [dataDir = ""] = process.argv.slice(2);
const stopped = once(process, "SIGTERM");
const keepAlive = setInterval(() => undefined, 60_000);

try {
  const logger = createLogger({ level: "silent", pretty: false });
  await using server = await startEmbeddedPostgres({ dataDir, logger });
  process.stdout.write(`${JSON.stringify({ url: server.ownerUrl, takenOver: server.takenOver })}\n`);
  await stopped;
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: (error as Error).message })}\n`);
  process.exitCode = 1;
} finally {
  clearInterval(keepAlive);
}
