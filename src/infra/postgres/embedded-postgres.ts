import { createServer } from "node:net";
import pg from "pg";
import type { Logger } from "pino";
import { Alarm } from "../alarm.ts";
import { BackOff, retry } from "../back-off.ts";
import { type ClusterFolder, EMBEDDED_ROLE, ensureCluster, openClusterFolder } from "./cluster-folder.ts";
import { EmbeddedPostgresError } from "./embedded-postgres-error.ts";
import { FolderLock } from "./folder-lock.ts";
import { stopOrphan } from "./orphan.ts";
import { findPostgresBinaries } from "./postgres-binaries.ts";
import { Postmaster, PostmasterStartError } from "./postmaster.ts";
import { choosePostgresIdentity } from "./process-identity.ts";
import { EMBEDDED_POSTGRES_SETTINGS } from "./settings.ts";

/** Where and how the embedded server runs. */
export interface EmbeddedPostgresOptions {
  /** Folder for this server alone; made if missing. May contain spaces and be of any length. */
  readonly dataDir: string;
  readonly logger: Logger;
  /** Gives up the start. A running server is ended by `stop`. */
  readonly signal?: AbortSignal;
  /** TCP port on 127.0.0.1; a free one is found unless given. */
  readonly port?: number;
  /** Server settings over {@link EMBEDDED_POSTGRES_SETTINGS}. */
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * Starts a private PostgreSQL as a child process and returns once it accepts connections.
 *
 * One live process owns the folder. A server that a killed service left behind is stopped cleanly and its data taken
 * over. While the service lives, a server that dies is restarted on the same port. Throws
 * {@link EmbeddedPostgresError}, whose message tells the operator what to do, if the folder is in use, cannot be
 * written or belongs to another major version of PostgreSQL.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const folder = await openClusterFolder(options.dataDir);
  const lock = FolderLock.acquire(folder.home);
  try {
    return await start(options, folder, lock);
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** A running embedded server. Its owner must `stop` it: a service that ends without leaves an orphan. */
export class EmbeddedPostgres implements AsyncDisposable {
  /** Connection string with password, valid across restarts of the server. */
  readonly url: string;
  /** Major version of the server and of its data folder. */
  readonly majorVersion: number;
  /** True if a server that a killed service had left running was stopped, and its data taken over. */
  readonly takenOver: boolean;
  readonly #startPostmaster: (signal: AbortSignal) => Promise<Postmaster>;
  readonly #lock: FolderLock;
  readonly #logger: Logger;
  readonly #closing = new AbortController();
  readonly #supervision: Promise<void>;
  #postmaster: Postmaster;
  #stopped: Promise<void> | undefined;

  constructor(parts: {
    readonly url: string;
    readonly majorVersion: number;
    readonly takenOver: boolean;
    readonly postmaster: Postmaster;
    readonly startPostmaster: (signal: AbortSignal) => Promise<Postmaster>;
    readonly lock: FolderLock;
    readonly logger: Logger;
  }) {
    this.url = parts.url;
    this.majorVersion = parts.majorVersion;
    this.takenOver = parts.takenOver;
    this.#startPostmaster = parts.startPostmaster;
    this.#lock = parts.lock;
    this.#logger = parts.logger;
    this.#postmaster = parts.postmaster;
    this.#supervision = this.#supervise();
  }

  /** Stops the server cleanly and gives the folder up. Open sessions are ended. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(): Promise<void> {
    this.#closing.abort();
    try {
      await this.#postmaster.stop();
      await this.#supervision;
    } finally {
      this.#lock.release();
    }
  }

  /** Restarts the server whenever it ends unasked, for as long as the service lives. */
  async #supervise(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const exit = await this.#postmaster.exited;
      if (signal.aborted) return;
      this.#logger.error(
        { event: "restart", ...exit },
        "the embedded PostgreSQL ended by itself: restarting it",
      );
      const since = performance.now();
      const replacement = await this.#restart(signal);
      if (replacement === undefined) return;
      this.#postmaster = replacement;
      // The owner stopped us between the last look at the signal and now: nobody else would end this one.
      if (signal.aborted) return replacement.stop();
      const downMs = Math.round(performance.now() - since);
      this.#logger.warn({ event: "restarted", downMs }, "the embedded PostgreSQL is back");
    }
  }

  /** Tries until it succeeds or the owner stops the server; a full disk may be emptied hours later. */
  async #restart(signal: AbortSignal): Promise<Postmaster | undefined> {
    const backOff = new BackOff({ baseMs: FIRST_BACK_OFF_MS, capMs: LONGEST_BACK_OFF_MS });
    for (;;) {
      await new Alarm().wait(backOff.next(), signal);
      if (signal.aborted) return undefined;
      try {
        return await this.#startPostmaster(signal);
      } catch (error) {
        if (signal.aborted) return undefined;
        this.#logger.error(
          { event: "restart", err: error },
          "the embedded PostgreSQL cannot be restarted yet",
        );
      }
    }
  }
}

const FIRST_BACK_OFF_MS = 100;
const LONGEST_BACK_OFF_MS = 5_000;

/** Tries of the first start: enough for lost races for a port and for backends of a killed server to end. */
const START_ATTEMPTS = 20;

const CONNECT_TIMEOUT_MS = 10_000;

async function start(
  options: EmbeddedPostgresOptions,
  folder: ClusterFolder,
  lock: FolderLock,
): Promise<EmbeddedPostgres> {
  const signal = options.signal ?? new AbortController().signal;
  const logger = options.logger.child({ component: "embedded-postgres" });
  const binaries = await findPostgresBinaries();
  const identity = await choosePostgresIdentity([binaries.postgres, folder.home], logger);
  const password = await ensureCluster(folder, binaries, identity, signal);
  const settings = { ...EMBEDDED_POSTGRES_SETTINGS, ...options.settings };
  const startOn = (port: number, abort: AbortSignal): Promise<Postmaster> =>
    Postmaster.start({ cluster: folder.cluster, port, binaries, identity, settings, logger }, abort);

  let takenOver = false;
  // Looked for before every try: processes of a server that was killed a moment ago may still be on their way.
  const startFirst = async (port: number, abort: AbortSignal): Promise<Postmaster> => {
    takenOver = (await stopOrphan(folder.cluster, logger, abort)) || takenOver;
    return startOn(port, abort);
  };
  const { postmaster, port } = await startOnFreePort(startFirst, options.port, signal);
  const urlOf = (database: string): string =>
    `postgres://${EMBEDDED_ROLE}:${password}@127.0.0.1:${port}/${database}`;
  try {
    await ensureDatabase(urlOf("postgres"));
  } catch (error) {
    await postmaster.stop();
    throw new EmbeddedPostgresError(
      `the embedded PostgreSQL on ${folder.home} runs but cannot be used: ${(error as Error).message}`,
      { cause: error },
    );
  }
  logger.info(
    { port, majorVersion: binaries.majorVersion, dataDir: folder.home },
    "embedded PostgreSQL is ready",
  );
  return new EmbeddedPostgres({
    url: urlOf(EMBEDDED_ROLE),
    majorVersion: binaries.majorVersion,
    takenOver,
    postmaster,
    startPostmaster: (abort) => startOn(port, abort),
    lock,
    logger,
  });
}

async function startOnFreePort(
  startOn: (port: number, signal: AbortSignal) => Promise<Postmaster>,
  wantedPort: number | undefined,
  signal: AbortSignal,
): Promise<{ postmaster: Postmaster; port: number }> {
  const isWorthRetrying = (error: unknown): boolean => {
    if (!(error instanceof PostmasterStartError)) return false;
    return error.portTaken ? wantedPort === undefined : error.remainsInUse;
  };
  const attempt = async (): Promise<{ postmaster: Postmaster; port: number }> => {
    const port = wantedPort ?? (await findFreePort());
    return { postmaster: await startOn(port, signal), port };
  };
  return await retry(attempt, { baseMs: 200, capMs: 200, attempts: START_ATTEMPTS, isWorthRetrying, signal });
}

/**
 * A port that is free at this moment, below the range from which systems number outgoing connections (32768 on
 * Linux). Inside that range a client that retries a server that is down can connect to itself and keep the port.
 */
async function findFreePort(): Promise<number> {
  const [first, last] = [20_000, 32_000];
  for (;;) {
    const port = first + Math.floor(Math.random() * (last - first));
    const free = await new Promise<boolean>((settle) => {
      const server = createServer();
      server.once("error", () => settle(false));
      server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => settle(true)));
    });
    if (free) return port;
  }
}

async function ensureDatabase(adminUrl: string): Promise<void> {
  const client = new pg.Client({
    connectionString: adminUrl,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: CONNECT_TIMEOUT_MS,
  });
  await client.connect();
  try {
    const known = await client.query("SELECT 1 FROM pg_database WHERE datname = $1", [EMBEDDED_ROLE]);
    if (known.rowCount === 0) await client.query(`CREATE DATABASE ${client.escapeIdentifier(EMBEDDED_ROLE)}`);
  } finally {
    await client.end();
  }
}
