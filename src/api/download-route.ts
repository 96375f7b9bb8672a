import { once } from "node:events";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Identity } from "../access/identity.ts";
import { OtaError } from "../errors.ts";
import type { CallContext } from "./endpoint.ts";
import { byteRange, isKnown, rangeApplies } from "./http-range.ts";
import type { RawRoute } from "./raw-route.ts";

/** A content that may be downloaded. */
export interface OpenDownload {
  readonly sizeBytes: number;
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  /**
   * Reads `length` bytes from `offset` on; fails if the store cannot deliver all of them. Iterated as it is, without a
   * Readable around it.
   */
  read(offset: number, length: number): AsyncIterable<Uint8Array>;
}

/** Opens the content of an update that was offered to the caller; throws an OtaError (NOT_OFFERED) for anything else. */
export type DownloadOpener = (
  updateId: string,
  identity: Identity,
  signal: AbortSignal,
) => Promise<OpenDownload>;

/**
 * `GET /api/v1/updates/{updateId}/content`: firmware over plain HTTP, for devices whose HTTP stack resumes downloads by
 * itself. Byte ranges, `ETag` (the SHA-256), `If-Range`, `If-None-Match` and HEAD as in RFC 9110; never compressed.
 */
export function downloadRoute(open: DownloadOpener): RawRoute {
  return {
    method: ["GET", "HEAD"],
    url: "/api/v1/updates/:updateId/content",
    access: { device: true },
    rate: "download",
    handle: (request, reply, context) => serve(open, request, reply, context),
  };
}

/** How long a reader may take no byte before its download is cut and its slot is free. */
const stallMs = 60_000;

async function serve(
  open: DownloadOpener,
  request: FastifyRequest,
  reply: FastifyReply,
  context: CallContext,
): Promise<void> {
  const { updateId } = request.params as { updateId: string };
  const content = await open(updateId, context.identity, context.signal);
  const etag = `"${content.sha256}"`;
  const headers: Record<string, string> = {
    "accept-ranges": "bytes",
    etag,
    // Offers are a device's own; a shared cache may keep nothing.
    "cache-control": "private, no-transform",
    "content-type": "application/octet-stream",
    "content-disposition": `attachment; filename="${content.sha256}.bin"`,
  };
  if (isKnown(request.headers["if-none-match"], etag)) {
    await send(reply, 304, headers, undefined, context.signal);
    return;
  }
  const asked = rangeApplies(singleHeader(request.headers["if-range"]), etag)
    ? request.headers.range
    : undefined;
  const range = byteRange(asked, content.sizeBytes);
  if (range.kind === "unsatisfiable") {
    void reply.header("content-range", `bytes */${content.sizeBytes}`);
    throw new OtaError("out_of_range", "OFFSET_OUT_OF_RANGE", "the range lies past the end of the content", {
      metadata: { sizeBytes: String(content.sizeBytes), httpStatus: "416" },
    });
  }
  const { offset, length } = range.kind === "part" ? range : { offset: 0, length: content.sizeBytes };
  if (range.kind === "part") {
    headers["content-range"] = `bytes ${offset}-${offset + length - 1}/${content.sizeBytes}`;
  }
  headers["content-length"] = String(length);
  const body = request.method === "HEAD" || length === 0 ? undefined : content.read(offset, length);
  await send(reply, range.kind === "part" ? 206 : 200, headers, body, context.signal);
}

/**
 * Writes the answer by hand: with Fastify's own stream answers a store that fails half-way, and a reader that stalls,
 * could not be told from a download that ended well.
 */
async function send(
  reply: FastifyReply,
  status: number,
  headers: Record<string, string>,
  body: AsyncIterable<Uint8Array> | undefined,
  signal: AbortSignal,
): Promise<void> {
  reply.hijack();
  const { raw } = reply;
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) raw.setHeader(name, value);
  raw.writeHead(status, headers);
  try {
    if (body !== undefined) {
      for await (const chunk of body) {
        if (!raw.write(chunk)) await drained(raw, signal);
      }
    }
    raw.end();
    // The last bytes too must be taken by the reader before the call counts as served.
    if (!raw.writableFinished) await withStallLimit(once(raw, "finish", { signal }), signal);
  } catch (error) {
    // The status is sent: only a broken connection tells the client that the content is not complete.
    raw.destroy();
    throw error;
  }
}

async function drained(raw: FastifyReply["raw"], signal: AbortSignal): Promise<void> {
  if (signal.aborted) throw signal.reason as Error;
  await withStallLimit(once(raw, "drain", { signal }), signal);
}

async function withStallLimit(progress: Promise<unknown>, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const stalled = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new OtaError("aborted", "CANCELLED", `the client took no byte for ${stallMs / 1_000} s`));
    }, stallMs);
    timer.unref();
  });
  try {
    await Promise.race([progress, stalled]);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}

function singleHeader(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
