import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rm, stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { crc32c } from "@node-rs/crc32";
import {
  type DownloadChunk,
  type DownloadHeader,
  UpdateService,
} from "../../gen/ota/v1/update_service_pb.js";
import type { RpcClient } from "../client/rpc-client.ts";
import { AgentFailure } from "./agent-failure.ts";
import { DirectDownloadFailed, directBytes } from "./direct-download.ts";

/** What is fetched, and where it goes. */
export interface DownloadOptions {
  readonly client: RpcClient;
  readonly updateId: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  /** The file; what an earlier try left in it is kept and continued. */
  readonly path: string;
  /** Whether the finished file is forced to the disk. */
  readonly durable: boolean;
  /** Told when the content could not be had at the URL that the service gave, and is fetched from the service. */
  readonly onUrlFailed?: ((error: unknown) => void) | undefined;
  /** Highest rate in bytes per second; undefined means as fast as it comes. */
  readonly bytesPerSecond?: number | undefined;
  /** Called with the bytes in the file as they grow; the download waits for it. */
  readonly onProgress: (bytes: number) => Promise<void> | void;
}

/** A chunk did not arrive as it was sent; the next try continues before it. */
export class ChunkDamaged extends Error {
  override readonly name = "ChunkDamaged";
}

/**
 * One try to fetch the rest of a firmware into a file, over gRPC, or by HTTP from the URL that the service gives for it. Every
 * chunk is checked by its CRC-32C before it is written, nothing beyond the declared size is ever written, and the whole is checked
 * against its SHA-256. What cannot be had at a URL, or is not what it should be there, is fetched from the service.
 *
 * Throws the client's error or {@link ChunkDamaged} if another try may go on from here, and {@link AgentFailure}
 * (`SIZE_MISMATCH`, `DIGEST_MISMATCH`, `STORAGE_FULL`, `STORAGE_FAILED`) if the content is not what was offered or
 * cannot be kept; the file is then gone, except if it could not be kept for lack of space.
 */
export async function downloadFirmware(options: DownloadOptions, signal: AbortSignal): Promise<void> {
  try {
    await using file = await open(options.path, "a+", 0o600);
    const target = new DownloadTarget(file, options);
    await target.resume(options.path, signal);
    await options.onProgress(target.offset);
    if (target.offset < options.sizeBytes) await fetchRest(options, target, signal);
    if (target.digest() !== options.sha256 && target.hasUncheckedBytes) {
      if (target.hasBytesOfUrl)
        options.onUrlFailed?.(new DirectDownloadFailed("what is in the file has another digest"));
      await target.restart();
      await fetchFromService(options, target, { acceptUrl: false }, signal);
    }
    if (target.digest() !== options.sha256) {
      throw new AgentFailure("DIGEST_MISMATCH", `the content does not have the SHA-256 ${options.sha256}`);
    }
    if (options.durable) await file.sync();
  } catch (error) {
    const failure = asStorageFailure(error);
    if (failure instanceof AgentFailure && failure.reason !== "STORAGE_FULL") {
      await rm(options.path, { force: true });
    }
    throw failure;
  }
}

/** How many bytes of a download are on the disk; 0 if it has not begun. */
export async function storedBytes(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}

/** By URLs as long as each brings something, which what cuts long connections allows; else from the service. */
async function fetchRest(
  options: DownloadOptions,
  target: DownloadTarget,
  signal: AbortSignal,
): Promise<void> {
  for (let urls = 0; urls < maxUrls; urls++) {
    const url = await fetchFromService(options, target, { acceptUrl: true }, signal);
    if (url === undefined) return;
    const start = target.offset;
    try {
      await fetchFromUrl(url, options, target, signal);
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof DirectDownloadFailed)) throw error;
      options.onUrlFailed?.(error);
      if (target.offset === start) break;
    }
  }
  await fetchFromService(options, target, { acceptUrl: false }, signal);
}

/** Fetches what is missing, unless the service says where else it is to be had. */
async function fetchFromService(
  options: DownloadOptions,
  target: DownloadTarget,
  { acceptUrl }: { readonly acceptUrl: boolean },
  signal: AbortSignal,
): Promise<string | undefined> {
  const request = { updateId: options.updateId, offset: BigInt(target.offset), acceptUrl };
  let url: string | undefined;
  async function* chunks(stalled: AbortSignal): AsyncGenerator<DownloadChunk> {
    const { downloadFirmware: method } = UpdateService.method;
    for await (const { message } of options.client.serverStream(method, request, { signal: stalled })) {
      if (message.case === "chunk") yield message.value;
      if (message.case !== "header") continue;
      checkHeader(message.value, options);
      if (!acceptUrl || message.value.url === "") continue;
      url = message.value.url;
      return;
    }
  }
  await receive(options, target, { pieces: chunks, append: (chunk) => target.append(chunk) }, signal);
  if (url === undefined && target.offset < options.sizeBytes)
    throw new ChunkDamaged("the download ended early");
  return url;
}

async function fetchFromUrl(
  url: string,
  options: DownloadOptions,
  target: DownloadTarget,
  signal: AbortSignal,
): Promise<void> {
  const pieces = (stalled: AbortSignal) => directBytes(url, target.offset, options.sizeBytes, stalled);
  await receive(options, target, { pieces, append: (data) => target.appendUnchecked(data) }, signal);
}

/** Where a download comes from, piece by piece, and how a piece gets into the file. */
interface Source<Piece> {
  readonly pieces: (signal: AbortSignal) => AsyncIterable<Piece>;
  readonly append: (piece: Piece) => Promise<void>;
}

/** Takes all that comes, no faster than it may. */
async function receive<Piece>(
  options: DownloadOptions,
  target: DownloadTarget,
  { pieces, append }: Source<Piece>,
  signal: AbortSignal,
): Promise<void> {
  const stall = new StallGuard(signal);
  const pace = new Pace(options.bytesPerSecond);
  try {
    for await (const piece of pieces(stall.signal)) {
      const start = target.offset;
      await append(piece);
      // Only what grows the file is progress.
      stall.progress();
      await options.onProgress(target.offset);
      await pace.take(target.offset - start, signal);
    }
  } finally {
    stall.close();
  }
}

function checkHeader(header: DownloadHeader, options: DownloadOptions): void {
  if (header.sizeBytes !== BigInt(options.sizeBytes)) {
    throw new AgentFailure(
      "SIZE_MISMATCH",
      `the service would send ${header.sizeBytes} bytes, the signed manifest says ${options.sizeBytes}`,
    );
  }
  if (header.sha256 !== options.sha256) {
    throw new AgentFailure("DIGEST_MISMATCH", "the service would send other content than was offered");
  }
}

/** The file that grows, with the digest of all that is in it. */
class DownloadTarget {
  offset = 0;
  /** Whether some of it did not come from the service in this try: the service may have better bytes. */
  hasUncheckedBytes = false;
  /** Whether some of it came from a URL in this try. */
  hasBytesOfUrl = false;
  readonly #file: FileHandle;
  readonly #sizeBytes: number;
  readonly #sha256: string;
  #hash: Hash = createHash("sha256");

  constructor(file: FileHandle, options: DownloadOptions) {
    this.#file = file;
    this.#sizeBytes = options.sizeBytes;
    this.#sha256 = options.sha256;
  }

  /** Reads what an earlier try left; a file that is already too long is begun again. */
  async resume(path: string, signal: AbortSignal): Promise<void> {
    const { size } = await this.#file.stat();
    if (size > this.#sizeBytes) return await this.restart();
    if (size === 0) return;
    for await (const part of createReadStream(path, { end: size - 1, signal })) {
      this.#hash.update(part as Buffer);
    }
    this.offset = size;
    this.hasUncheckedBytes = true;
    // A whole file with another digest was damaged on the disk, not by the service: fetch it once more.
    if (size === this.#sizeBytes && this.digest() !== this.#sha256) await this.restart();
  }

  async append({ offset, data, crc32c: checksum }: DownloadChunk): Promise<void> {
    if (offset !== BigInt(this.offset)) {
      throw new ChunkDamaged(`expected a chunk at ${this.offset}, got one at ${offset}`);
    }
    // Without content the download would neither end nor stall.
    if (data.length === 0) throw new ChunkDamaged(`the chunk at ${offset} is empty`);
    if (crc32c(data) !== checksum) throw new ChunkDamaged(`the chunk at ${offset} is damaged`);
    if (this.offset + data.length > this.#sizeBytes) {
      throw new AgentFailure("SIZE_MISMATCH", `the service sent more than ${this.#sizeBytes} bytes`);
    }
    await this.#write(data);
  }

  /** Adds what came from a URL, no more than is missing. */
  async appendUnchecked(data: Uint8Array): Promise<void> {
    this.hasUncheckedBytes = true;
    this.hasBytesOfUrl = true;
    await this.#write(data);
  }

  /** Throws away what is there. */
  async restart(): Promise<void> {
    await this.#file.truncate(0);
    this.#hash = createHash("sha256");
    this.offset = 0;
    this.hasUncheckedBytes = false;
    this.hasBytesOfUrl = false;
  }

  async #write(data: Uint8Array): Promise<void> {
    this.#hash.update(data);
    await this.#file.appendFile(data);
    this.offset += data.length;
  }

  /** SHA-256 of everything in the file, in hexadecimal. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }
}

/** Aborts a download in which nothing arrives any more. */
class StallGuard {
  readonly signal: AbortSignal;
  readonly #stalled = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(signal: AbortSignal) {
    this.signal = AbortSignal.any([signal, this.#stalled.signal]);
    this.#timer = setTimeout(() => this.#stalled.abort(), stallTimeoutMs);
  }

  progress(): void {
    this.#timer.refresh();
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}

/** A download in which nothing arrived for so long is tried again, in milliseconds. */
const stallTimeoutMs = 60_000;

/** How many URLs are tried in a row, each of which brought something before it failed. */
const maxUrls = 8;

/** Holds a download to a rate. */
class Pace {
  readonly #bytesPerMs: number | undefined;
  readonly #startMs = performance.now();
  #bytes = 0;

  constructor(bytesPerSecond: number | undefined) {
    this.#bytesPerMs = bytesPerSecond === undefined ? undefined : bytesPerSecond / 1000;
  }

  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytesPerMs === undefined) return;
    this.#bytes += bytes;
    const aheadMs = this.#bytes / this.#bytesPerMs - (performance.now() - this.#startMs);
    if (aheadMs > 1) await delay(aheadMs, undefined, { signal });
  }
}

function asStorageFailure(error: unknown): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new AgentFailure("STORAGE_FULL", "the firmware does not fit on the device", error);
  }
  if (code === "EIO" || code === "EROFS") {
    return new AgentFailure("STORAGE_FAILED", `the device cannot write: ${code}`, error);
  }
  return error;
}
