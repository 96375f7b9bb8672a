import type { FastifyReply, FastifyRequest } from "fastify";
import { UpdateService } from "../../../gen/ota/v1/update_service_pb.js";
import type { Identity } from "../../call/identity.ts";
import { OtaError } from "../../errors.ts";
import type { RawRoute } from "../http/raw-route.ts";
import { type LentBytes, sendBody } from "../http/send-body.ts";
import { accessRuleOf } from "../pipeline/access-rule.ts";
import type { CallContext } from "../pipeline/endpoint.ts";
import { byteRange, isKnown, rangeApplies } from "./http-range.ts";

/** A content that may be downloaded. */
export interface OpenDownload {
  readonly sizeBytes: number;
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  /** A URL of this content elsewhere, for whoever shall fetch it there: all the right that is needed; undefined if it is to be had here. */
  elsewhere(): Promise<string | undefined>;
  /**
   * Reads `length` bytes from `offset` on, which may be lent; fails if the store cannot deliver all of them. Iterated as
   * it is, without a Readable around it.
   */
  read(offset: number, length: number): AsyncIterable<Uint8Array | LentBytes>;
}

/** Opens the content of an update that was offered to the caller; throws an OtaError (NOT_OFFERED) for anything else. */
export type DownloadOpener = (
  updateId: string,
  identity: Identity,
  signal: AbortSignal,
) => Promise<OpenDownload>;

/**
 * `GET /api/v1/updates/{updateId}/content`: firmware over plain HTTP, for devices whose HTTP stack resumes downloads by
 * itself. Byte ranges, `ETag` (the SHA-256), `If-Range`, `If-None-Match` and HEAD as in RFC 9110; never compressed. Where the rollout
 * wants it, a GET is redirected to the object store, unless its query has `direct=false`.
 */
export function downloadRoute(open: DownloadOpener): RawRoute {
  return {
    method: ["GET", "HEAD"],
    url: "/api/v1/updates/:updateId/content",
    access: accessRuleOf(UpdateService.method.downloadFirmware),
    rate: "download",
    place: "downloads",
    handle: (request, reply, context) => serve(open, request, reply, context),
  };
}

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
    await sendBody(reply, { status: 304, headers }, undefined, context.signal);
    return;
  }
  if (mayBeElsewhere(request, etag)) {
    const location = await content.elsewhere();
    if (location !== undefined) {
      // The next request may be given another one: nobody may keep it.
      const redirect = { location, "cache-control": "no-store", "content-length": "0" };
      await sendBody(reply, { status: 307, headers: redirect }, undefined, context.signal);
      return;
    }
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
  await sendBody(reply, { status: range.kind === "part" ? 206 : 200, headers }, body, context.signal);
}

/**
 * Whether a request may be sent elsewhere. A URL is good for GET alone; and who goes on with what came from here names our tag, which
 * the store does not know.
 */
function mayBeElsewhere({ method, headers, query }: FastifyRequest, etag: string): boolean {
  const { direct } = query as { direct?: unknown };
  return method === "GET" && direct !== "false" && headers["if-range"] !== etag;
}

function singleHeader(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
