import type { Readable } from "node:stream";
import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import type { RawRoute } from "../api/http/raw-route.ts";
import { accessRuleOf } from "../api/pipeline/access-rule.ts";
import { actorOf } from "../call/identity.ts";
import { invalidArgument } from "../errors.ts";
import { symbolFileJson } from "./symbol-messages.ts";
import { maxSymbolFileBytes, type SymbolFiles } from "./symbols/symbol-files.ts";

/**
 * `POST /api/v1/symbolFiles?fileName=agent.elf` with the file as the body, of any media type, for browsers and scripts: what
 * `UploadSymbolFile` is for those who speak gRPC.
 */
export function symbolFileRoutes(symbols: SymbolFiles): RawRoute[] {
  return [
    {
      method: "POST",
      url: "/api/v1/symbolFiles",
      access: accessRuleOf(ErrorService.method.uploadSymbolFile),
      rate: "operator",
      bodyLimit: maxSymbolFileBytes,
      body: "stream",
      handle: async (request, reply, { identity, signal }) => {
        const { fileName = "" } = request.query as { fileName?: unknown };
        if (typeof fileName !== "string" || fileName.length > maxNameLength || fileName.includes("\0"))
          throw invalidArgument("fileName", `must be one text of at most ${maxNameLength} characters`);
        const chunks = (request.body as Readable | undefined) ?? [];
        const file = await symbols.receive({ actor: actorOf(identity), fileName }, chunksOf(chunks), signal);
        void reply.code(201).type("application/json; charset=utf-8");
        return JSON.stringify({ symbolFile: symbolFileJson(file) });
      },
    },
  ];
}

/** As `UploadSymbolFileRequest.file_name`. */
const maxNameLength = 200;

async function* chunksOf(
  body: AsyncIterable<Uint8Array> | readonly Uint8Array[],
): AsyncGenerator<Uint8Array> {
  yield* body;
}
