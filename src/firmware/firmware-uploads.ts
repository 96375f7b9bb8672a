import { crc32c } from "@node-rs/crc32";
import { OtaError } from "../errors.ts";
import { withIdleLimit } from "../infra/objects/idle-limit.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import type { Firmware } from "./firmware.ts";
import type { StoredContents } from "./stored-contents.ts";
import { type UploadSession, UploadSessions } from "./upload-sessions.ts";

/** A part of an upload. */
export interface UploadChunk {
  /** Where `data` begins. */
  readonly offset: number;
  readonly data: Uint8Array;
  /** CRC-32C of `data` (RFC 3720, section 12.1), checked if given. */
  readonly crc32c?: number | undefined;
  /** Whether this is the end of the content. */
  readonly finish: boolean;
}

/** How an upload stands. */
export interface UploadProgress {
  /** Bytes that survive a crash: where a broken upload goes on. */
  readonly committedBytes: number;
  /** The firmware, once its content is complete and verified. */
  readonly firmware: Firmware | undefined;
}

/** What uploads ask of the catalogue. */
export interface UploadCatalog {
  /** The firmware with that id that is not deleted, or `NOT_FOUND`. */
  getActive(id: string): Promise<Firmware>;
  /**
   * Records that the declared content is in the store, and right; `replaced`: in place of content that was not. Harmless if
   * that is recorded already.
   */
  contentStored(id: string, actor: string, how?: { readonly replaced: boolean }): Promise<Firmware>;
}

/** A client that sends nothing for so long has gone away; what it sent is kept. */
const IDLE_STREAM_MS = 60_000;

/** Parts of an {@link FirmwareUploads}. */
export interface FirmwareUploadsParts {
  readonly catalog: UploadCatalog;
  readonly store: Pick<ObjectStore, "openUpload">;
  readonly contents: Pick<StoredContents, "has" | "noteSound">;
}

/**
 * Brings a firmware's content into the object store, chunk by chunk. The newest writer of a firmware wins: an older
 * stream ends with `STREAM_SUPERSEDED`, because a client whose connection broke is back before the break is noticed
 * here. Every chunk must begin where the upload stands (`UPLOAD_OFFSET_MISMATCH` with `committed_bytes` otherwise); one
 * that lies wholly in what was received before is accepted again and changes nothing. Content that is in the store already,
 * of a released firmware too, is taken again if its bytes there are not what they should be, and replaces them.
 */
export class FirmwareUploads {
  readonly #catalog: UploadCatalog;
  readonly #contents: FirmwareUploadsParts["contents"];
  readonly #sessions: UploadSessions;

  constructor(parts: FirmwareUploadsParts) {
    this.#catalog = parts.catalog;
    this.#contents = parts.contents;
    this.#sessions = new UploadSessions(parts.store);
  }

  /**
   * Takes chunks until one finishes the content or the stream ends or breaks; what came until then is durable when this
   * returns or throws. Errors as {@link FirmwareUploads.append}.
   */
  async receive(
    id: string,
    chunks: AsyncIterable<UploadChunk>,
    caller: { readonly actor: string; readonly signal: AbortSignal },
  ): Promise<UploadProgress> {
    const known = await this.#catalog.getActive(id);
    const { sha256, sizeBytes } = known;
    if (await this.#isInStore(known, caller.signal)) {
      const isRecorded = known.state !== "DRAFT" && known.damagedAt === undefined;
      return isRecorded ? { committedBytes: sizeBytes, firmware: known } : this.#stored(id, caller.actor);
    }
    await using session = await this.#sessions.open(id, sizeBytes, caller.signal);
    try {
      const writer = session.takeOver();
      for await (const chunk of withIdleLimit(chunks, idleLimit, caller.signal)) {
        await addChunk(session, writer, chunk);
        if (!chunk.finish) continue;
        await session.finish(writer, { sha256, sizeBytes }, caller.signal);
        // What was known of the bytes before is not said of these.
        this.#contents.noteSound(sha256, undefined);
        return await this.#stored(id, caller.actor, { replaced: known.state !== "DRAFT" });
      }
      return { committedBytes: await session.commit(), firmware: undefined };
    } catch (error) {
      // What came is kept for the resume, as far as the store lets us; the first failure is the one to tell of.
      await session.commit().catch(() => undefined);
      throw error;
    }
  }

  /**
   * Takes one chunk, which is durable when this returns. More bytes than declared are `SIZE_MISMATCH`, another digest at
   * the end `DIGEST_MISMATCH`: both throw everything away. A wrong CRC-32C is `DIGEST_MISMATCH` as well, but refuses the
   * chunk only. `finish` before the declared size is `UPLOAD_INCOMPLETE`, and the upload can go on.
   */
  async append(
    id: string,
    chunk: UploadChunk,
    caller: { readonly actor: string; readonly signal: AbortSignal },
  ): Promise<UploadProgress> {
    async function* once(): AsyncGenerator<UploadChunk> {
      yield chunk;
    }
    return this.receive(id, once(), caller);
  }

  /** How far the upload has come, without disturbing it. `NOT_FOUND` for an unknown or deleted firmware. */
  async progress(id: string, signal: AbortSignal): Promise<{ committedBytes: number; sizeBytes: number }> {
    const firmware = await this.#catalog.getActive(id);
    const { state, sizeBytes } = firmware;
    if (state !== "DRAFT" && (await this.#isInStore(firmware, signal)))
      return { committedBytes: sizeBytes, sizeBytes };
    await using session = await this.#sessions.open(id, sizeBytes, signal);
    return { committedBytes: session.committedBytes, sizeBytes };
  }

  /** Closes open uploads; they stay resumable. Idempotent. */
  async close(): Promise<void> {
    await this.#sessions.close();
  }

  /** Whether the content needs no upload: it came with another firmware, or its end could not be recorded before. */
  async #isInStore(firmware: Firmware, signal: AbortSignal): Promise<boolean> {
    if (this.#sessions.has(firmware.id)) return false;
    return await this.#contents.has(firmware, signal);
  }

  async #stored(id: string, actor: string, how?: { readonly replaced: boolean }): Promise<UploadProgress> {
    const firmware = await this.#catalog.contentStored(id, actor, how);
    return { committedBytes: firmware.sizeBytes, firmware };
  }
}

async function addChunk(
  session: UploadSession,
  writer: symbol,
  { offset, data, ...chunk }: UploadChunk,
): Promise<void> {
  if (chunk.crc32c !== undefined && crc32c(data) !== chunk.crc32c) {
    throw new OtaError(
      "invalid_argument",
      "DIGEST_MISMATCH",
      `the chunk at byte ${offset} has another CRC-32C than was declared; send it again`,
      { metadata: { offset: String(offset), committed_bytes: String(session.committedBytes) } },
    );
  }
  await session.append(writer, offset, data);
}

const idleLimit = { idleMs: IDLE_STREAM_MS, tooLong: idleTooLong };

function idleTooLong(): OtaError {
  return new OtaError(
    "deadline_exceeded",
    "DEADLINE_EXCEEDED",
    `the upload sent nothing for ${IDLE_STREAM_MS / 1000} seconds; it can be resumed`,
    { metadata: { idle_seconds: String(IDLE_STREAM_MS / 1000) } },
  );
}
