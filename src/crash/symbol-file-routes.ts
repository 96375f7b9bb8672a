import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import type { RawRoute } from "../api/http/raw-route.ts";
import { bodyOf, fileNameOf } from "../api/http/raw-upload.ts";
import { accessRuleOf } from "../api/pipeline/access-rule.ts";
import { actorOf } from "../call/identity.ts";
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
        const uploaded = { actor: actorOf(identity), fileName: fileNameOf(request) };
        const file = await symbols.receive(uploaded, bodyOf(request), signal);
        void reply.code(201).type("application/json; charset=utf-8");
        return JSON.stringify({ symbolFile: symbolFileJson(file) });
      },
    },
  ];
}
