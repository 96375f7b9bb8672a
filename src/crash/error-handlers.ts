import type { MessageShape } from "@bufbuild/protobuf";
import { ErrorService, type UploadCrashLogRequestSchema } from "../../gen/ota/v1/error_service_pb.js";
import { apiCalls, clientStream, type Endpoint, serverStream, unary } from "../api/pipeline/endpoint.ts";
import { actorOf, callingDevice } from "../call/identity.ts";
import { keysetPage, listPage } from "../call/list-page.ts";
import type { PageTokens } from "../call/page-token.ts";
import { timeRange } from "../call/request-date.ts";
import type { Pool } from "../infra/database/pool.ts";
import type { CrashLogs } from "./crash-logs.ts";
import { affectedKey, type ErrorGroups, occurrenceKey } from "./error-groups.ts";
import {
  affectedMessage,
  crashLogMessage,
  groupFilterOf,
  groupMessage,
  groupOrderOf,
  occurrenceMessage,
  stateOf,
} from "./error-messages.ts";
import type { GroupMerges } from "./group-merges.ts";
import { groupingEndpoints } from "./grouping-handlers.ts";
import type { GroupingRules } from "./grouping-rules.ts";
import type { RuleTrials } from "./rule-trials.ts";
import { symbolEndpoints } from "./symbol-handlers.ts";
import type { SourceLineFinder } from "./symbols/source-lines.ts";
import type { SymbolFiles } from "./symbols/symbol-files.ts";

/** What the handlers of ErrorService call. */
export interface ErrorParts {
  readonly groups: ErrorGroups;
  readonly logs: CrashLogs;
  readonly merges: GroupMerges;
  readonly rules: GroupingRules;
  readonly trials: RuleTrials;
  readonly symbols: SymbolFiles;
  readonly sourceLines: SourceLineFinder;
  readonly pageTokens: PageTokens;
  readonly pool: Pool;
}

/** The endpoints of ErrorService. */
export function errorEndpoints(parts: ErrorParts): Endpoint[] {
  return [
    ...groupEndpoints(parts),
    ...groupingEndpoints(parts),
    ...symbolEndpoints(parts),
    ...detailEndpoints(parts),
    ...logEndpoints(parts),
  ];
}

function groupEndpoints({ groups, pageTokens }: ErrorParts): Endpoint[] {
  const { method } = ErrorService;
  return [
    unary(method.listErrorGroups, apiCalls, async (request) => {
      const filter = groupFilterOf(request);
      const order = groupOrderOf(request.orderBy);
      const page = await keysetPage(
        pageTokens,
        request,
        { filter, order },
        { list: (position) => groups.list(filter, order, position), keyOf: ({ key }) => key },
      );
      return {
        groups: page.rows.map(({ group }) => groupMessage(group)),
        nextPageToken: page.nextPageToken,
      };
    }),

    unary(method.getErrorGroup, apiCalls, async ({ id }) => {
      const group = await groups.get(id);
      const [newest] = await groups.occurrences({ groupId: id }, { limit: 1 });
      const merged = await groups.mergedInto(id, maxMergedShown);
      return {
        group: groupMessage(group),
        mergedGroups: merged.map(groupMessage),
        ...(newest === undefined ? {} : { newestOccurrence: occurrenceMessage(newest) }),
      };
    }),

    unary(
      method.updateErrorGroup,
      apiCalls,
      async ({ id, state, resolvedVersion, reason }, { identity }) => ({
        group: groupMessage(
          await groups.decide({
            actor: actorOf(identity),
            id,
            state: stateOf(state),
            resolvedVersion,
            reason,
          }),
        ),
      }),
    ),
  ];
}

function detailEndpoints({ groups, pageTokens }: ErrorParts): Endpoint[] {
  const { method } = ErrorService;
  return [
    unary(method.getErrorTimeline, apiCalls, async ({ id, days }) => ({
      counts: (await groups.timeline(id, days === 0 ? defaultTimelineDays : days)).map((count) => ({
        ...count,
        occurrenceCount: BigInt(count.occurrenceCount),
      })),
    })),

    unary(method.listErrorOccurrences, apiCalls, async (request) => {
      const filter = {
        groupId: request.groupId,
        deviceId: request.deviceId,
        ...timeRange(request),
      };
      const bound = {
        list: "occurrences",
        ...filter,
        from: filter.from?.toISOString(),
        to: filter.to?.toISOString(),
      };
      const page = await listPage(pageTokens, request, bound, {
        list: (position) => groups.occurrences(filter, position),
        keyOf: occurrenceKey,
      });
      return { occurrences: page.rows.map(occurrenceMessage), nextPageToken: page.nextPageToken };
    }),

    unary(method.listErrorGroupDevices, apiCalls, async ({ id, ...request }) => {
      const page = await listPage(
        pageTokens,
        request,
        { list: "affected devices", id },
        {
          list: (position) => groups.devices(id, position),
          keyOf: affectedKey,
        },
      );
      return { devices: page.rows.map(affectedMessage), nextPageToken: page.nextPageToken };
    }),
  ];
}

function logEndpoints({ logs }: ErrorParts): Endpoint[] {
  const { method } = ErrorService;
  return [
    clientStream(
      method.uploadCrashLog,
      { rate: "device", place: "crash_logs" },
      async (requests, { identity, signal }) => ({
        crashLog: crashLogMessage(
          await logs.receive(callingDevice(identity, "upload crash logs"), dataOf(requests), signal),
        ),
      }),
    ),

    serverStream(method.downloadCrashLog, apiCalls, async function* ({ id }, { signal }) {
      const content = await logs.read(id, signal);
      for (let offset = 0; offset < content.length; offset += chunkBytes) {
        yield { data: new Uint8Array(content.subarray(offset, offset + chunkBytes)) };
      }
    }),
  ];
}

const defaultTimelineDays = 30;

/** Merged groups that are shown with the one that stands for them. */
const maxMergedShown = 100;

const chunkBytes = 64 * 1024;

async function* dataOf(
  requests: AsyncIterable<MessageShape<typeof UploadCrashLogRequestSchema>>,
): AsyncGenerator<Uint8Array> {
  for await (const { data } of requests) yield data;
}
