import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { postgresEnvironment } from "./cluster-folder.ts";
import { EmbeddedPostgresError } from "./embedded-postgres-error.ts";
import { STOP_STEPS } from "./orphan.ts";
import type { PostgresBinaries } from "./postgres-binaries.ts";
import type { ProcessIdentity } from "./process-identity.ts";

/** What one start of the server needs. */
export interface PostmasterOptions {
  readonly cluster: string;
  /** The number in the socket's name. */
  readonly port: number;
  readonly binaries: PostgresBinaries;
  readonly identity: ProcessIdentity;
  readonly settings: Readonly<Record<string, string>>;
  readonly logger: Logger;
}

/** The server ended before it was ready. */
export class PostmasterStartError extends EmbeddedPostgresError {
  /** Backends of a killed server still hold its shared memory; they end by themselves within moments. */
  readonly remainsInUse: boolean;

  constructor(cluster: string, output: string) {
    super(`PostgreSQL does not start on ${cluster}: ${output || "it ended without a message"}`);
    this.remainsInUse = /pre-existing shared memory block|lock file .* already exists/i.test(output);
  }
}

/** One running PostgreSQL server process with its children. */
export class Postmaster {
  /** Fulfilled when the process has ended, with how. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  readonly #child: ChildProcess;
  readonly #options: PostmasterOptions;
  readonly #lastLines: string[] = [];
  #ended = false;

  /** Starts the server and waits until it accepts connections, recovery from a crash included. */
  static async start(options: PostmasterOptions, signal: AbortSignal): Promise<Postmaster> {
    signal.throwIfAborted();
    const postmaster = new Postmaster(options);
    try {
      await postmaster.#ready(signal);
      return postmaster;
    } catch (error) {
      await postmaster.stop();
      throw error;
    }
  }

  private constructor(options: PostmasterOptions) {
    this.#options = options;
    const [file, ...args] = [
      ...options.identity.prefix,
      options.binaries.postgres,
      "-D",
      options.cluster,
      "-p",
      String(options.port),
      ...Object.entries(options.settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    ];
    this.#child = spawn(file as string, args, {
      ...options.identity.user,
      cwd: "/",
      env: postgresEnvironment(),
      // A session of its own: Ctrl-C at the terminal reaches the service, which drains first and stops PostgreSQL last.
      detached: true,
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.exited = new Promise((settle) => {
      this.#child.once("exit", (code, exitSignal) => {
        this.#ended = true;
        settle({ code, signal: exitSignal });
      });
      this.#child.once("error", (error) => {
        this.#ended = true;
        this.#lastLines.push(error.message);
        settle({ code: null, signal: null });
      });
    });
    if (this.#child.stderr !== null) {
      createInterface({ input: this.#child.stderr }).on("line", (line) => this.#log(line));
    }
  }

  /** Stops the server: fast shutdown first, harder ones if it hangs. Idempotent. */
  async stop(): Promise<void> {
    for (const step of STOP_STEPS) {
      if (this.#ended) return;
      this.#child.kill(step.signal);
      const timer = new AbortController();
      await Promise.race([
        this.exited,
        delay(step.waitMs, undefined, { signal: timer.signal }).catch(() => undefined),
      ]);
      timer.abort();
    }
    if (!this.#ended) throw new EmbeddedPostgresError(`PostgreSQL on ${this.#options.cluster} does not stop`);
  }

  async #ready(signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!(await this.#saysReady())) {
      if (this.#ended) {
        await this.#outputRead();
        throw new PostmasterStartError(this.#options.cluster, this.#lastLines.join("; "));
      }
      if (performance.now() > deadline) {
        throw new EmbeddedPostgresError(
          `PostgreSQL on ${this.#options.cluster} is not ready after ${START_TIMEOUT_MS / 1000} s`,
        );
      }
      await delay(POLL_MS, undefined, { signal });
    }
  }

  /** The server writes its state into the last line of its lock file; `pg_ctl -w` waits on the same line. */
  async #saysReady(): Promise<boolean> {
    const file = join(this.#options.cluster, "postmaster.pid");
    const lines = (await readFile(file, "utf8").catch(() => "")).split("\n");
    return !this.#ended && lines[0] === String(this.#child.pid) && lines[7]?.trim() === "ready";
  }

  async #outputRead(): Promise<void> {
    const { stderr } = this.#child;
    if (stderr !== null && !stderr.closed) await once(stderr, "close");
  }

  #log(line: string): void {
    this.#lastLines.push(line);
    if (this.#lastLines.length > KEPT_LINES) this.#lastLines.shift();
    const severity = /^(\w+): /.exec(line)?.[1] ?? "";
    this.#options.logger[LOG_LEVELS[severity] ?? "debug"]({ component: "postgres" }, line);
  }
}

/** Recovery of {@link EMBEDDED_POSTGRES_SETTINGS}' 1 GB of WAL on a slow disk, with room. */
const START_TIMEOUT_MS = 300_000;

const POLL_MS = 20;

/** Lines of the server's output that an error message quotes. */
const KEPT_LINES = 10;

/**
 * ERROR lines are what a statement's sender gets anyway, and a constraint doing its work is none of the operator's
 * business.
 */
const LOG_LEVELS: Readonly<Record<string, "debug" | "warn" | "error">> = {
  WARNING: "warn",
  FATAL: "warn",
  PANIC: "error",
};
