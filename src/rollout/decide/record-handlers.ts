import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { actorOf } from "../../call/identity.ts";
import type { RolloutHealthSource } from "../model/health-verdict.ts";
import type { HeardTime } from "../model/heard-time.ts";
import type { Rollout } from "../model/rollout.ts";
import { toDeviceUpdateMessage, toRolloutMessage } from "../wire/rollout-messages.ts";
import type { Kept, RolloutRecords } from "./rollout-records.ts";
import { verb } from "./verb-request.ts";

/** What these endpoints work on. */
export interface RecordEndpointParts {
  readonly records: RolloutRecords;
  readonly hearing: HeardTime;
  readonly health: RolloutHealthSource;
}

/** RolloutService's names, metadata and archive. */
export function recordEndpoints({ records, hearing, health }: RecordEndpointParts): Endpoint[] {
  const { method } = RolloutService;
  const message = (rollout: Rollout) => toRolloutMessage(rollout, hearing, health.verdictOf(rollout.id));
  const answer = async (kept: Promise<Kept>) => {
    const { rollout, unchanged } = await kept;
    return { rollout: message(rollout), unchanged };
  };
  return [
    unary(method.updateRollout, apiCalls, async (request, { identity }) => {
      const change = {
        name: request.name,
        metadata: request.metadata?.entries,
        rings: request.rings.map(({ name, metadata }) => ({ name, metadata: metadata?.entries ?? {} })),
        revision: request.etag || undefined,
      };
      return await answer(records.update(request.id, change, { actor: actorOf(identity) }));
    }),

    unary(method.archiveRollout, apiCalls, (request, context) =>
      answer(records.archive(verb(request, context))),
    ),

    unary(method.unarchiveRollout, apiCalls, (request, context) =>
      answer(records.unarchive(verb(request, context))),
    ),

    unary(method.updateDeviceUpdate, apiCalls, async ({ deviceId, id, metadata }, { identity }) => {
      const entries = metadata?.entries ?? {};
      const { update, unchanged } = await records.updateDeviceUpdate({ deviceId, id }, entries, {
        actor: actorOf(identity),
      });
      return { deviceUpdate: toDeviceUpdateMessage(update), unchanged };
    }),
  ];
}
