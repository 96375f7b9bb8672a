import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Config } from "../config.ts";
import { systemClock } from "../infra/clock.ts";
import { ErrorTracker } from "../infra/error-tracking/error-tracker.ts";
import { LogOutput } from "../infra/log-output.ts";
import { createLogger } from "../infra/logger.ts";
import { consoleFolder, type FirstSecrets, type RunningServer, startServer } from "../server.ts";
import { adminTokenFile, saveAdminToken } from "./admin-token-file.ts";
import { serviceConfig } from "./service-settings.ts";
import type { Cli } from "./session.ts";
import type { Terminal } from "./terminal.ts";

/** What the command line says of how to serve; it goes before the environment. */
export interface ServeOptions {
  readonly dataDir: string;
  readonly host?: string;
  readonly httpPort?: string;
  readonly grpcPort?: string;
}

/** Runs the service until the signal, then drains it. */
export async function serve(cli: Cli, options: ServeOptions): Promise<void> {
  const config = serviceConfig(cli.env, {
    DEVICE_OTA_DATA_DIR: options.dataDir,
    DEVICE_OTA_HOST: options.host,
    DEVICE_OTA_HTTP_PORT: options.httpPort,
    DEVICE_OTA_GRPC_PORT: options.grpcPort,
  });
  const pretty = config.log.format === "pretty" || (config.log.format === "auto" && cli.terminal.interactive);
  await using logOutput = LogOutput.standard();
  await using errors = config.errorTracking && new ErrorTracker(config.errorTracking, systemClock);
  const logger = createLogger({
    level: config.log.level,
    pretty,
    destination: logOutput,
    ...(errors && { onError: (error, fields) => errors.report(error, fields) }),
  });
  const server = await startServer({
    config,
    logger,
    logOutput,
    signal: cli.signal,
    showFirstSecrets: (secrets) => showFirstSecrets(cli.terminal, config, secrets),
  });
  try {
    welcome(cli.terminal, config, server);
    await aborted(cli.signal);
    logger.info("stopping: streams are told to go, what is queued is written");
  } finally {
    await server.close();
  }
}

/** Tells what runs where. On standard error, because standard output is the log, which collectors read as JSON. */
function welcome(terminal: Terminal, config: Config, server: RunningServer): void {
  const database =
    config.databaseUrl === undefined
      ? `embedded PostgreSQL in ${config.dataDir}`
      : hostOf(config.databaseUrl);
  const firmware =
    config.storage.type === "local" ? config.storage.basePath : `S3 bucket ${config.storage.bucket}`;
  const lines = [
    "",
    terminal.paint("bold", "Device OTA & Heartbeat Service is up"),
    `  console         ${consolePlace(server)}`,
    `  REST, Connect   ${server.httpUrl}`,
    `  gRPC            ${server.grpcAddress}`,
    `  database        ${database}`,
    `  firmware        ${firmware}`,
    "",
    terminal.paint("bold", "Try this next, in another terminal"),
    "  device-ota simulate --count 50     50 simulated devices join",
    "  device-ota fleet status            who is online, on which version",
    "  device-ota firmware --help         from a file to the fleet",
    "",
  ];
  for (const line of lines) terminal.note(line);
}

/** On standard error as well, and the administrator's token also in a file: who misses the one finds the other. */
async function showFirstSecrets(
  terminal: Terminal,
  { dataDir }: Config,
  { adminToken, enrolmentKey }: FirstSecrets,
): Promise<void> {
  const lines = ["", terminal.paint("bold", "First start: these are shown only now")];
  if (adminToken !== undefined) {
    await saveAdminToken(dataDir, adminToken);
    lines.push(
      `  admin token     ${adminToken}`,
      `                  (also in ${adminTokenFile(dataDir)}, for this command line)`,
    );
  }
  if (enrolmentKey !== undefined) lines.push(`  enrolment key   ${enrolmentKey}`);
  for (const line of lines) terminal.note(line);
}

function consolePlace({ httpUrl }: RunningServer): string {
  if (existsSync(join(consoleFolder, "index.html"))) return `${httpUrl}/ (sign in with an operator's token)`;
  return `not built: run \`make console\` in ${dirname(dirname(consoleFolder))}, then reload ${httpUrl}/`;
}

/** Host and database of a connection string, without its password. */
function hostOf(databaseUrl: string): string {
  const { host, pathname } = new URL(databaseUrl);
  return `PostgreSQL at ${host}${pathname}`;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
