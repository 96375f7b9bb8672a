import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { AgentFailure } from "./agent-failure.ts";
import { isSha256 } from "./offer-form.ts";
import type { KnownProduct, PastRun } from "./run-history.ts";

/** An update that has been handed to the installer and whose outcome the next boot will show. */
export interface PendingUpdate {
  readonly updateId: string;
  /** Undefined if it was unsigned. */
  readonly product?: string | undefined;
  readonly version: string;
  readonly securityCounter: number;
  readonly sha256: string;
  /** Undefined if an older agent installed it. */
  readonly sizeBytes?: number;
  /** The boot in which it was installed: the new version counts only under another. */
  readonly bootId: string;
}

/** What a device must not forget when it loses power. */
export interface DeviceState {
  /** Identifies the try to enrol, so that a retry after a lost answer is known as one. */
  readonly enrolmentRequestId: string;
  /** The device that the service did not know any more, if that try is to take its place. */
  readonly lostDeviceId?: string | undefined;
  /** Undefined until the device is enrolled. */
  readonly identity:
    | {
        readonly deviceId: string;
        readonly token: string;
        /** When it got the token, by its clock, in milliseconds since 1970; undefined if nobody knows. */
        readonly tokenSinceMs?: number;
        /** When the token stops working, likewise; undefined: never, or nobody knows. */
        readonly tokenExpiresMs?: number;
        /** The thumbprint (RFC 7638) of its own key, if that is its credential; undefined also if an older agent saved this. */
        readonly keyThumbprint?: string;
      }
    | undefined;
  /** Which life of the sequence counter this is; see `Hello.epoch`. */
  readonly epoch: number;
  /** No heartbeat beyond this sequence has been given out. */
  readonly sequence: number;
  /** The security counter of the image that runs. */
  readonly securityCounter: number;
  /** The highest security counter that ever ran: nothing below it is installed. */
  readonly securityFloor: number;
  readonly pending: PendingUpdate | undefined;
  /** Updates that were tried and did not hold, newest last: they are not tried again. */
  readonly reverted: readonly string[];
  /** What ran on this device: it goes back to nothing else by itself. */
  readonly ran: readonly PastRun[];
  /** Whose firmware it has taken: it takes no other product's. */
  readonly products: readonly KnownProduct[];
}

/** Where a device keeps its state, its backlog of heartbeats and the firmware that it downloads. */
export interface DeviceStorage {
  /** The state as it was saved last, by an older agent without the newest fields; undefined on a device that has none. */
  load(): Promise<DeviceState | undefined>;
  /** Replaces the state: after a loss of power the old or the new one is there, whole. */
  save(state: DeviceState): Promise<void>;
  /** The bytes given to {@link saveBacklog} last; empty if none. */
  loadBacklog(): Promise<Uint8Array>;
  saveBacklog(bytes: Uint8Array): Promise<void>;
  /**
   * The file for the firmware with this SHA-256, 64 lower-case hexadecimal digits; removes what earlier, other downloads left
   * behind. Throws {@link AgentFailure} `INVALID_OFFER` if it is no such digest: it names a file.
   */
  downloadPath(sha256: string): Promise<string>;
  /** Whether what is kept survives a loss of power, so that writes are forced to the disk and spared. */
  readonly durable: boolean;
}

/** Keeps everything in one folder that only the owner can read; the state holds the device's token. */
export class FileDeviceStorage implements DeviceStorage {
  readonly durable = true;
  readonly #folder: string;
  readonly #logger: Logger;

  constructor(folder: string, logger: Logger) {
    this.#folder = folder;
    this.#logger = logger;
  }

  /** A state file that cannot be read counts as lost: the device then has to enrol again. */
  async load(): Promise<DeviceState | undefined> {
    const bytes = await readIfThere(join(this.#folder, stateFile));
    if (bytes === undefined) return undefined;
    try {
      return JSON.parse(bytes.toString("utf8")) as DeviceState;
    } catch (error) {
      this.#logger.error({ err: error, folder: this.#folder }, "the device state cannot be read");
      return undefined;
    }
  }

  save(state: DeviceState): Promise<void> {
    return this.#replace(stateFile, JSON.stringify(state));
  }

  async loadBacklog(): Promise<Uint8Array> {
    return (await readIfThere(join(this.#folder, backlogFile))) ?? new Uint8Array();
  }

  saveBacklog(bytes: Uint8Array): Promise<void> {
    return this.#replace(backlogFile, bytes);
  }

  async downloadPath(sha256: string): Promise<string> {
    if (!isSha256(sha256))
      throw new AgentFailure("INVALID_OFFER", "a SHA-256 names a download, nothing else");
    const folder = join(this.#folder, "downloads");
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(folder)) {
      if (name !== sha256) await rm(join(folder, name), { force: true });
    }
    return join(folder, sha256);
  }

  async #replace(name: string, content: string | Uint8Array): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const temporary = join(this.#folder, `${name}.new`);
    await using file = await open(temporary, "w", 0o600);
    await file.writeFile(content);
    await file.sync();
    await rename(temporary, join(this.#folder, name));
    // The rename itself is durable only once the folder is.
    await using folder = await open(this.#folder, "r");
    await folder.sync();
  }
}

/** Keeps the state in memory, for simulated devices; the downloaded firmware is a real file all the same. */
export class MemoryDeviceStorage implements DeviceStorage {
  readonly durable = false;
  readonly #downloadPath: string;
  #sha256 = "";
  #state: DeviceState | undefined;
  #backlog: Uint8Array = new Uint8Array();

  /** @param downloadPath the one file that all downloads of this device use in turn */
  constructor(downloadPath: string) {
    this.#downloadPath = downloadPath;
  }

  load(): Promise<DeviceState | undefined> {
    return Promise.resolve(this.#state);
  }

  save(state: DeviceState): Promise<void> {
    this.#state = state;
    return Promise.resolve();
  }

  loadBacklog(): Promise<Uint8Array> {
    return Promise.resolve(this.#backlog);
  }

  saveBacklog(bytes: Uint8Array): Promise<void> {
    this.#backlog = bytes;
    return Promise.resolve();
  }

  async downloadPath(sha256: string): Promise<string> {
    if (sha256 !== this.#sha256) await rm(this.#downloadPath, { force: true });
    this.#sha256 = sha256;
    return this.#downloadPath;
  }
}

const stateFile = "state.json";
const backlogFile = "backlog.bin";

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
