import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { bidiStream, type Endpoint, unary } from "../api/pipeline/endpoint.ts";
import { callingDevice, type Identity } from "../call/identity.ts";
import { listPage } from "../call/list-page.ts";
import type { PageTokens } from "../call/page-token.ts";
import { readerOf } from "../call/reader.ts";
import { timeRange } from "../call/request-date.ts";
import type { HeavyReads } from "../infra/database/heavy-reads.ts";
import { checkedBatch } from "./batch-messages.ts";
import type { Directive } from "./directive.ts";
import { maskedFields } from "./heartbeat-fields.ts";
import { type HeartbeatHistory, historyKey } from "./heartbeat-history.ts";
import { ackMessage, directiveMessage, epochOf } from "./heartbeat-messages.ts";
import { bootOfBatch } from "./live-boots.ts";
import { maskedHeartbeat } from "./read-mask-messages.ts";
import { callSalvage, streamSalvage } from "./salvage-messages.ts";
import { HeartbeatStreamHandler, type StreamHandlerParts } from "./stream-handlers.ts";

/** What the handlers of HeartbeatService call. */
export interface HeartbeatParts extends StreamHandlerParts {
  readonly history: HeartbeatHistory;
  readonly heavyReads: Pick<HeavyReads, "for">;
  readonly pageTokens: PageTokens;
  /** What a device that polls should do now: it has no stream that could tell it. */
  readonly pendingDirectives: (identity: Identity) => readonly Directive[];
}

/** The endpoints of HeartbeatService. */
export function heartbeatEndpoints(parts: HeartbeatParts): Endpoint[] {
  const { ingest, faults, budgets, boots, history, clock } = parts;
  const streamHandler = new HeartbeatStreamHandler(parts);
  return [
    bidiStream(
      HeartbeatService.method.streamHeartbeats,
      {
        rate: "heartbeat",
        place: "heartbeats",
        salvage: streamSalvage,
      },
      (requests, context) => streamHandler.handle(requests, context),
    ),

    unary(
      HeartbeatService.method.sendHeartbeat,
      {
        rate: "heartbeat",
        salvage: callSalvage,
      },
      async ({ epoch: claimedEpoch, heartbeats }, context) => {
        const deviceId = callingDevice(context.identity, "send heartbeats");
        const toldEpoch = epochOf(claimedEpoch);
        const followsEpoch = toldEpoch === 0;
        const epoch = followsEpoch ? 1 : toldEpoch;
        const batch = checkedBatch(heartbeats, {
          deviceId,
          epoch,
          receivedAt: clock.now(),
          hello: undefined,
        });
        budgets.take(deviceId, batch.records);
        faults.checked(deviceId, batch);
        const sighting = bootOfBatch(batch.records, undefined);
        if (sighting !== undefined) boots.sighted(sighting);
        const { signal } = context;
        const result = await ingest.submit({ deviceId, epoch, followsEpoch, records: batch.records, signal });
        return {
          ack: ackMessage({
            ackedThrough: Math.max(result.ackedThrough, batch.through),
            epoch: result.epoch ?? epoch,
            rejected: [...batch.rejected, ...result.rejected],
            leftOut: batch.leftOut.named,
            leftOutCount: batch.leftOut.count,
          }),
          directives: parts.pendingDirectives(context.identity).map(directiveMessage),
          heartbeatInterval: durationFromMs(parts.heartbeatIntervalMs),
          serverTime: timestampFromDate(clock.now()),
        };
      },
    ),

    unary(
      HeartbeatService.method.listHeartbeats,
      {
        rate: "operator",
        deviceRate: "device_read",
      },
      async ({ deviceId, startTime, endTime, readMask, ...request }, { identity, signal }) => {
        const fields = maskedFields(readMask?.paths);
        const filter = {
          deviceId,
          ...timeRange({ startTime, endTime }),
          fields,
        };
        const bound = { deviceId, from: filter.from?.toISOString(), to: filter.to?.toISOString(), fields };
        const page = await listPage(parts.pageTokens, request, bound, {
          list: (position) =>
            history.list(filter, position, parts.heavyReads.for(readerOf(identity, signal))),
          keyOf: historyKey,
        });
        return {
          heartbeats: page.rows.map((record) => maskedHeartbeat(record, fields)),
          nextPageToken: page.nextPageToken,
        };
      },
    ),
  ];
}
