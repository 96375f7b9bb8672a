import { rm } from "node:fs/promises";
import { readConfig } from "../../config.ts";
import { LogOutput } from "../../infra/log-output.ts";
import { createLogger } from "../../infra/logger.ts";
import { type RunningServer, startServer } from "../../server.ts";
import type { ServiceMessage } from "./service-child.ts";

/**
 * The service of a demo, in a process of its own as in real life, so that it and the fleet have a processor each. It
 * lives as long as its parent holds the channel: if the parent is killed, it closes in order all the same, and removes the
 * folder that its argument names.
 */

const parentGone = new Promise<void>((resolve) => process.once("disconnect", () => resolve()));
// Ctrl-C reaches every process of the terminal; the parent decides when this one ends.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);

let server: RunningServer | undefined;
try {
  const logger = createLogger({ level: "info", pretty: false, destination: LogOutput.standard() });
  server = await startServer({ config: readConfig(process.env), logger });
  tell({ kind: "ready", httpUrl: server.httpUrl, grpcAddress: server.grpcAddress });
  await parentGone;
} catch (error) {
  tell({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  process.exitCode = 1;
} finally {
  await server?.close();
  const folder = process.argv[2];
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  if (process.connected) process.disconnect();
}

function tell(message: ServiceMessage): void {
  if (process.connected) process.send?.(message);
}
