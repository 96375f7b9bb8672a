import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type ViteDevServer } from "vite";

/**
 * The development server: the service, started again whenever one of its files changes, and before it the console, whose
 * pages change in the browser as their files do. Arguments and settings are those of `serve`. Ctrl-C ends both.
 */
const service = spawn(
  process.execPath,
  ["--watch", "--watch-preserve-output", "src/main.ts", "serve", ...process.argv.slice(2)],
  {
    stdio: "inherit",
    // A console that watches the fleet would hold each restart for as long as it may take to finish its call.
    env: { DEVICE_OTA_DRAIN_SECONDS: "0", ...process.env },
  },
);
const serviceEnd = once(service, "exit");
const stopped = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopped.abort());
service.once("exit", () => stopped.abort());

let pages: ViteDevServer | undefined;
try {
  pages = await createServer({ configFile: "vite.console.config.ts" });
  await pages.listen();
  pages.printUrls();
  if (!stopped.signal.aborted) await once(stopped.signal, "abort");
} finally {
  service.kill("SIGTERM");
  await pages?.close();
  await serviceEnd;
}
