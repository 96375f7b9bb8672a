import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import { apiCalls, clientStream, type Endpoint, unary } from "../api/pipeline/endpoint.ts";
import { uploadedData } from "../api/pipeline/uploaded-data.ts";
import { actorOf } from "../call/identity.ts";
import type { Pool } from "../infra/database/pool.ts";
import type { ErrorGroups } from "./error-groups.ts";
import { readReport, unnamedCallsOf } from "./fingerprint.ts";
import { findMissingBuilds } from "./missing-builds.ts";
import { missingBuildMessage, symbolFileMessage } from "./symbol-messages.ts";
import type { SourceLineFinder } from "./symbols/source-lines.ts";
import type { SymbolFiles } from "./symbols/symbol-files.ts";

/** What these handlers call. */
interface SymbolParts {
  readonly groups: ErrorGroups;
  readonly symbols: SymbolFiles;
  readonly sourceLines: SourceLineFinder;
  readonly pool: Pool;
}

/** The endpoints of ErrorService for symbol files and what they tell. */
export function symbolEndpoints({ groups, symbols, sourceLines, pool }: SymbolParts): Endpoint[] {
  const { method } = ErrorService;
  return [
    clientStream(method.uploadSymbolFile, apiCalls, async (requests, { identity, signal }) => {
      const messages = requests[Symbol.asyncIterator]();
      const first = await messages.next();
      const fileName = first.done === true ? "" : first.value.fileName;
      const file = await symbols.receive(
        { actor: actorOf(identity), fileName },
        uploadedData(first, messages),
        signal,
      );
      return { symbolFile: symbolFileMessage(file) };
    }),

    unary(method.listSymbolFiles, apiCalls, async () => ({
      symbolFiles: (await symbols.list()).map(symbolFileMessage),
      missingBuilds: (await findMissingBuilds(pool)).map(missingBuildMessage),
    })),

    unary(method.getSourceLines, apiCalls, async ({ id }, { signal }) => {
      await groups.get(id);
      const [newest] = await groups.occurrences({ groupId: id }, { limit: 1 });
      const calls = newest === undefined ? [] : unnamedCallsOf(readReport(newest.report));
      const { lines, missing } = await sourceLines.find(calls, signal);
      return { lines: [...lines], missing };
    }),

    unary(method.deleteSymbolFile, apiCalls, async ({ id, reason }, { identity }) => {
      await symbols.delete(id, actorOf(identity), reason);
      return {};
    }),
  ];
}
