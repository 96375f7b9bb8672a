import type { FastifyRequest } from "fastify";
import { invalidArgument } from "../../errors.ts";

/** The name that the query gives the uploaded file (`fileName`), empty if it gives none. `INVALID_REQUEST` if it cannot be one. */
export function fileNameOf(request: FastifyRequest): string {
  const { fileName = "" } = request.query as { fileName?: unknown };
  if (typeof fileName !== "string" || fileName.length > maxNameLength || fileName.includes("\0"))
    throw invalidArgument("fileName", `must be one text of at most ${maxNameLength} characters`);
  return fileName;
}

/** What comes in the body of a raw route with `body: "stream"`; nothing if there is none. */
export async function* bodyOf(request: FastifyRequest): AsyncGenerator<Uint8Array> {
  const body = request.body as AsyncIterable<Uint8Array> | undefined;
  if (body !== undefined) yield* body;
}

/** As `AttachFirmwareFileRequest.file_name` and `UploadSymbolFileRequest.file_name`. */
const maxNameLength = 200;
