import type { Logger } from "pino";
import { Alarm } from "../alarm.ts";
import { BackOff, retry } from "../back-off.ts";
import { type ClusterFolder, ensureCluster, openClusterFolder, removePassword } from "./cluster-folder.ts";
import { EmbeddedPostgresError } from "./embedded-postgres-error.ts";
import { FolderLock } from "./folder-lock.ts";
import { stopOrphan } from "./orphan.ts";
import { findPostgresBinaries } from "./postgres-binaries.ts";
import { Postmaster, PostmasterStartError } from "./postmaster.ts";
import { choosePostgresIdentity } from "./process-identity.ts";
import { EMBEDDED_ROLES, ensureRoles, socketUrl, writeAccessFiles } from "./roles.ts";
import { EMBEDDED_POSTGRES_SETTINGS } from "./settings.ts";
import { makeSocketFolder, SOCKET_PORT, type SocketFolder } from "./socket-folder.ts";

/** Where and how the embedded server runs. */
export interface EmbeddedPostgresOptions {
  /** Folder for this server alone; made if missing. May contain spaces and be of any length. */
  readonly dataDir: string;
  readonly logger: Logger;
  /** Gives up the start. A running server is ended by `stop`. */
  readonly signal?: AbortSignal | undefined;
  /** Server settings over {@link EMBEDDED_POSTGRES_SETTINGS}. */
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * Starts a private PostgreSQL as a child process and returns once it accepts connections.
 *
 * One live process owns the folder. A server that a killed service left behind is stopped cleanly and its data taken
 * over. While the service lives, a server that dies is restarted on the same socket. Throws
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
  /** For the service's work: a role that reads and writes rows. Valid across restarts of the server. */
  readonly serviceUrl: string;
  /** For migrations: the role that owns the tables. */
  readonly ownerUrl: string;
  /** Major version of the server and of its data folder. */
  readonly majorVersion: number;
  /** True if a server that a killed service had left running was stopped, and its data taken over. */
  readonly takenOver: boolean;
  readonly #startPostmaster: (signal: AbortSignal) => Promise<Postmaster>;
  readonly #socketFolder: SocketFolder;
  readonly #lock: FolderLock;
  readonly #logger: Logger;
  readonly #closing = new AbortController();
  readonly #supervision: Promise<void>;
  #postmaster: Postmaster;
  #stopped: Promise<void> | undefined;

  constructor(parts: {
    readonly majorVersion: number;
    readonly takenOver: boolean;
    readonly postmaster: Postmaster;
    readonly startPostmaster: (signal: AbortSignal) => Promise<Postmaster>;
    readonly socketFolder: SocketFolder;
    readonly lock: FolderLock;
    readonly logger: Logger;
  }) {
    this.serviceUrl = socketUrl(parts.socketFolder.path, EMBEDDED_ROLES.service);
    this.ownerUrl = socketUrl(parts.socketFolder.path, EMBEDDED_ROLES.owner);
    this.majorVersion = parts.majorVersion;
    this.takenOver = parts.takenOver;
    this.#startPostmaster = parts.startPostmaster;
    this.#socketFolder = parts.socketFolder;
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
      await this.#socketFolder.remove();
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

/** Tries of the first start: enough for backends of a killed server to end. */
const START_ATTEMPTS = 20;

async function start(
  options: EmbeddedPostgresOptions,
  folder: ClusterFolder,
  lock: FolderLock,
): Promise<EmbeddedPostgres> {
  const signal = options.signal ?? new AbortController().signal;
  const logger = options.logger.child({ component: "embedded-postgres" });
  const binaries = await findPostgresBinaries();
  const identity = await choosePostgresIdentity([binaries.postgres, folder.home], logger);
  await ensureCluster(folder, binaries, identity, signal);
  let takenOver = await stopOrphan(folder.cluster, logger, signal);
  const socketFolder = await makeSocketFolder(folder.home, identity, logger);
  try {
    const settings = {
      ...EMBEDDED_POSTGRES_SETTINGS,
      ...(await writeAccessFiles(folder, identity)),
      unix_socket_directories: `"${socketFolder.path.replaceAll('"', '""')}"`,
      ...options.settings,
    };
    const startPostmaster = (abort: AbortSignal): Promise<Postmaster> =>
      Postmaster.start(
        { cluster: folder.cluster, port: SOCKET_PORT, binaries, identity, settings, logger },
        abort,
      );
    // Looked for before every try: processes of a server that was killed a moment ago may still be on their way.
    const startFirst = async (): Promise<Postmaster> => {
      takenOver = (await stopOrphan(folder.cluster, logger, signal)) || takenOver;
      return startPostmaster(signal);
    };
    const postmaster = await retry(startFirst, {
      baseMs: 200,
      capMs: 200,
      attempts: START_ATTEMPTS,
      isWorthRetrying: (error) => error instanceof PostmasterStartError && error.remainsInUse,
      signal,
    });
    try {
      await ensureRoles(socketFolder.path);
      await removePassword(folder);
    } catch (error) {
      await postmaster.stop();
      throw new EmbeddedPostgresError(
        `the embedded PostgreSQL on ${folder.home} runs but cannot be used: ${(error as Error).message}`,
        { cause: error },
      );
    }
    logger.info(
      { socketFolder: socketFolder.path, majorVersion: binaries.majorVersion, dataDir: folder.home },
      "embedded PostgreSQL is ready",
    );
    return new EmbeddedPostgres({
      majorVersion: binaries.majorVersion,
      takenOver,
      postmaster,
      startPostmaster,
      socketFolder,
      lock,
      logger,
    });
  } catch (error) {
    await socketFolder.remove();
    throw error;
  }
}
