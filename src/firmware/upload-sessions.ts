import { OtaError } from "../errors.ts";
import type { ObjectInfo, ObjectStore, ObjectUpload } from "../infra/objects/object-store.ts";

/**
 * How many uploads are open at once. Each holds a file and a hash, and resuming one reads back what it has; an operator's
 * pipeline uploads a handful.
 */
const MAX_SESSIONS = 32;

/** How long an upload that nobody uses stays open, so that the next chunk need not read everything back. */
const KEEP_OPEN_MS = 60_000;

/** How long to wait when all sessions are in use. */
const RETRY_AFTER_MS = 5_000;

/** The open uploads of this replica by firmware id, shared by streams, single chunks and questions about progress. */
export class UploadSessions {
  readonly #store: Pick<ObjectStore, "openUpload">;
  readonly #entries = new Map<string, Entry>();
  #closed = false;

  constructor(store: Pick<ObjectStore, "openUpload">) {
    this.#store = store;
  }

  /** Opens the upload where it was left, or joins it. Dispose the session; the upload stays open for a while. */
  async open(id: string, sizeBytes: number, signal: AbortSignal): Promise<UploadSession> {
    signal.throwIfAborted();
    const entry = this.#entries.get(id) ?? this.#add(id);
    entry.users++;
    clearTimeout(entry.timer);
    // Not the caller's signal: whoever joins would be stopped with it.
    entry.upload ??= this.#store.openUpload(id, { maxBytes: sizeBytes });
    try {
      return new UploadSession(entry, await entry.upload, () => this.#release(id, entry));
    } catch (error) {
      entry.end();
      this.#release(id, entry);
      throw error;
    }
  }

  /** Whether the upload is open here. */
  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** Closes all uploads; they stay resumable. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#entries].map(([id, entry]) => this.#drop(id, entry)));
  }

  #add(id: string): Entry {
    if (this.#closed) throw new OtaError("unavailable", "SHUTTING_DOWN", "the service is stopping");
    const entry: Entry = {
      upload: undefined,
      users: 0,
      writer: undefined,
      ended: false,
      end: () => {
        entry.ended = true;
        // Whoever comes now opens the upload anew, and sees what the store has.
        if (this.#entries.get(id) === entry) this.#entries.delete(id);
      },
      last: Promise.resolve(),
      timer: undefined,
    };
    if (this.#entries.size >= MAX_SESSIONS) {
      const idle = [...this.#entries].find(([, { users }]) => users === 0);
      if (idle === undefined) throw tooManyUploads();
      void this.#drop(...idle);
    }
    this.#entries.set(id, entry);
    return entry;
  }

  #release(id: string, entry: Entry): void {
    entry.users--;
    if (entry.users > 0) return;
    if (entry.ended) {
      void this.#drop(id, entry);
      return;
    }
    entry.timer = setTimeout(() => void this.#drop(id, entry), KEEP_OPEN_MS);
    entry.timer.unref();
  }

  /** Never fails. */
  async #drop(id: string, entry: Entry): Promise<void> {
    clearTimeout(entry.timer);
    if (this.#entries.get(id) === entry) this.#entries.delete(id);
    // What a failing close could not write through is missing when the upload is opened again, and sent again.
    await entry.upload?.then((upload) => upload.close()).catch(() => undefined);
  }
}

/** One caller's hold on an open upload. */
export class UploadSession implements AsyncDisposable {
  readonly #entry: Entry;
  readonly #upload: ObjectUpload;
  readonly #release: () => void;

  constructor(entry: Entry, upload: ObjectUpload, release: () => void) {
    this.#entry = entry;
    this.#upload = upload;
    this.#release = release;
  }

  /** Bytes that survive a crash. */
  get committedBytes(): number {
    return this.#upload.committedBytes;
  }

  /** Makes this caller the only one who may write, and returns what proves it. */
  takeOver(): symbol {
    const writer = Symbol("writer");
    this.#entry.writer = writer;
    return writer;
  }

  /** Adds a chunk, or accepts it again. See `FirmwareUploads.append` for the errors. */
  append(writer: symbol, offset: number, data: Uint8Array): Promise<void> {
    return this.#exclusive(async () => {
      this.#assertWriter(writer);
      const at = this.#upload.receivedBytes;
      if (offset + data.length <= at) return;
      if (offset !== at) throw offsetMismatch(offset, await this.#upload.commit());
      await this.#endingOnFailure(this.#upload.append(offset, data));
    });
  }

  /** Verifies and publishes the content. */
  finish(writer: symbol, expected: ObjectInfo, signal: AbortSignal): Promise<void> {
    return this.#exclusive(async () => {
      this.#assertWriter(writer);
      const at = this.#upload.receivedBytes;
      if (at < expected.sizeBytes) throw incomplete(at, expected.sizeBytes);
      await this.#endingOnFailure(this.#upload.finish(expected, signal));
      this.#entry.end();
    });
  }

  /** Writes everything through, and returns how many bytes are durable. */
  commit(): Promise<number> {
    return this.#exclusive(async () =>
      this.#entry.ended ? this.#upload.committedBytes : this.#upload.commit(),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#release();
  }

  #assertWriter(writer: symbol): void {
    if (this.#entry.writer === writer) return;
    throw new OtaError("aborted", "STREAM_SUPERSEDED", "the upload was continued by a newer call");
  }

  /** After a failure the store may have thrown the upload away: the next caller opens it anew and sees. */
  async #endingOnFailure(work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#entry.end();
      throw error;
    }
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#entry.last.then(work);
    this.#entry.last = result.catch(() => undefined);
    return result;
  }
}

/** An open upload and who uses it. */
interface Entry {
  upload: Promise<ObjectUpload> | undefined;
  /** Sessions that are not disposed. */
  users: number;
  /** The newest writer. */
  writer: symbol | undefined;
  /** Whether the upload takes no more chunks: published, thrown away or failed. */
  ended: boolean;
  end: () => void;
  /** Calls run one after the other, so that two writers cannot come between check and write. */
  last: Promise<unknown>;
  timer: NodeJS.Timeout | undefined;
}

function offsetMismatch(offset: number, committedBytes: number): OtaError {
  return new OtaError(
    "failed_precondition",
    "UPLOAD_OFFSET_MISMATCH",
    `the chunk begins at byte ${offset}, but the upload stands at byte ${committedBytes}`,
    { metadata: { offset: String(offset), committed_bytes: String(committedBytes) } },
  );
}

function incomplete(committedBytes: number, sizeBytes: number): OtaError {
  return new OtaError(
    "failed_precondition",
    "UPLOAD_INCOMPLETE",
    `the upload has ${committedBytes} of ${sizeBytes} bytes; go on from there`,
    { metadata: { committed_bytes: String(committedBytes), size_bytes: String(sizeBytes) } },
  );
}

function tooManyUploads(): OtaError {
  return new OtaError("resource_exhausted", "TOO_MANY_STREAMS", `${MAX_SESSIONS} uploads are running`, {
    metadata: { limit: String(MAX_SESSIONS) },
    retryAfterMs: RETRY_AFTER_MS,
  });
}
