import { type ChildProcess, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { CliError, exitCodes } from "../failure.ts";

/** What the service's process tells its parent. */
export type ServiceMessage =
  | { readonly kind: "ready"; readonly httpUrl: string; readonly grpcAddress: string }
  | { readonly kind: "failed"; readonly message: string };

/** A service in a child process, on free ports of 127.0.0.1, with its own database in a folder. */
export interface ServiceChild extends AsyncDisposable {
  readonly httpUrl: string;
  readonly grpcAddress: string;
  readonly adminToken: string;
  readonly enrolmentKey: string;
  /** The service's log. */
  readonly logFile: string;
  /** Aborted when the process ends, wanted or not. */
  readonly ended: AbortSignal;
}

/** Longest start: a first start creates a database, and a busy machine is slow. */
const startTimeoutMs = 90_000;

/** Longest orderly end; then the process is killed. */
const stopTimeoutMs = 20_000;

/** A fleet that lives an hour in a minute, all from one address, needs limits to match. */
const rateLimits = {
  DEVICE_OTA_RATE_LIMIT_ENROL: "off",
  DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "6000/minute",
  DEVICE_OTA_RATE_LIMIT_UPDATE_CHECK: "600/minute",
  DEVICE_OTA_RATE_LIMIT_DOWNLOAD: "600/minute",
  DEVICE_OTA_RATE_LIMIT_API: "12000/minute",
};

/** Starts the service; disposing of the result ends it in order. */
export async function startServiceChild(options: {
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}): Promise<ServiceChild> {
  const logFile = join(options.folder, "service.log");
  await using log = await open(logFile, "a", 0o600);
  const adminToken = `ota_op_${randomBytes(32).toString("base64url")}`;
  const enrolmentKey = `ota_enrol_${randomBytes(32).toString("base64url")}`;
  // Built, it lies beside this file as well.
  const program = new URL(`service-process${extname(import.meta.filename)}`, import.meta.url);
  const child = fork(program, [options.folder], {
    // A process group of its own, so that Ctrl-C does not stop its database under it.
    detached: true,
    stdio: ["ignore", log.fd, log.fd, "ipc"],
    execArgv: [],
    env: {
      ...withoutServiceSettings(options.env),
      DEVICE_OTA_HOST: "127.0.0.1",
      DEVICE_OTA_HTTP_PORT: "0",
      DEVICE_OTA_GRPC_PORT: "0",
      DEVICE_OTA_DATA_DIR: join(options.folder, "data"),
      DEVICE_OTA_ADMIN_TOKEN: adminToken,
      DEVICE_OTA_ENROLMENT_KEY: enrolmentKey,
      ...rateLimits,
    },
  });
  const ended = new AbortController();
  child.once("exit", () => ended.abort(new CliError(exitCodes.failure, "the service ended unexpectedly")));
  try {
    const { httpUrl, grpcAddress } = await untilReady(child, options.signal, logFile);
    return {
      httpUrl,
      grpcAddress,
      adminToken,
      enrolmentKey,
      logFile,
      ended: ended.signal,
      [Symbol.asyncDispose]: () => stop(child),
    };
  } catch (error) {
    await stop(child);
    throw error;
  }
}

async function untilReady(child: ChildProcess, signal: AbortSignal, logFile: string) {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(startTimeoutMs)]);
  const over = once(child, "exit", { signal: limit }).then(() => undefined);
  const first = await Promise.race([
    once(child, "message", { signal: limit }).then(([message]) => message as ServiceMessage),
    over,
  ]);
  if (first?.kind === "ready") return first;
  const reason = first?.kind === "failed" ? first.message : await lastLines(logFile);
  throw new CliError(exitCodes.failure, `the service did not start: ${reason}`);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  if (child.connected) child.disconnect();
  const killer = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
  await exit;
  clearTimeout(killer);
}

/** Settings of the user's own service, its database above all, must not reach the demo's. */
function withoutServiceSettings(env: Readonly<Record<string, string | undefined>>): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("DEVICE_OTA_")));
}

async function lastLines(logFile: string): Promise<string> {
  const text = await readFile(logFile, "utf8");
  return text.trim().split("\n").slice(-5).join("\n") || "it said nothing";
}
