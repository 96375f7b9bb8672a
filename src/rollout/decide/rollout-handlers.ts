import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { apiCalls, type Endpoint, serverStream, unary } from "../../api/pipeline/endpoint.ts";
import { actorOf } from "../../call/identity.ts";
import { listPage } from "../../call/list-page.ts";
import type { PageTokens } from "../../call/page-token.ts";
import type { HeavyReads } from "../../infra/database/heavy-reads.ts";
import type { Foresight } from "../model/foresight.ts";
import type { RolloutHealthSource } from "../model/health-verdict.ts";
import type { HeardTime } from "../model/heard-time.ts";
import type { Rollout } from "../model/rollout.ts";
import { rolloutListFilter } from "../model/rollout-filter.ts";
import type { SteeredRollout } from "../model/verb-effect.ts";
import { fromMetadataFilter } from "../wire/metadata-messages.ts";
import {
  fromNewRollout,
  fromRolloutStates,
  fromUpdatesRequest,
  toDefaultsMessage,
  toDeviceUpdateMessage,
  toRolloutMessage,
  toVerbEffectMessage,
} from "../wire/rollout-messages.ts";
import { toWarningMessage } from "../wire/warning-messages.ts";
import type { RolloutCatalog } from "./rollout-catalog.ts";
import type { RolloutWatch } from "./rollout-watch.ts";
import { verb } from "./verb-request.ts";

/** What the rollout endpoints work on. */
export interface RolloutEndpointParts {
  readonly catalog: RolloutCatalog;
  readonly watch: RolloutWatch;
  readonly pageTokens: PageTokens;
  readonly hearing: HeardTime;
  readonly health: RolloutHealthSource;
  readonly foresight: Foresight;
  readonly heavyReads: Pick<HeavyReads, "for">;
}

/** RolloutService. */
export function rolloutEndpoints({
  catalog,
  watch,
  pageTokens,
  hearing,
  health,
  foresight,
  heavyReads,
}: RolloutEndpointParts): Endpoint[] {
  const { method } = RolloutService;
  const message = (rollout: Rollout) => toRolloutMessage(rollout, hearing, health.verdictOf(rollout.id));
  const answer = async (rollout: Promise<Rollout>) => ({ rollout: message(await rollout) });
  const steered = async (outcome: Promise<SteeredRollout>) => {
    const rollout = await outcome;
    return { rollout: message(rollout), effect: toVerbEffectMessage(rollout.effect) };
  };
  return [
    unary(method.createRollout, apiCalls, (request, context) =>
      answer(
        catalog.create(fromNewRollout(request), {
          actor: actorOf(context.identity),
          requestId: request.requestId || undefined,
        }),
      ),
    ),

    unary(method.getRolloutDefaults, apiCalls, async () => toDefaultsMessage(catalog.defaults)),

    unary(method.getRollout, apiCalls, ({ id }) => answer(catalog.get(id))),

    unary(method.listRollouts, apiCalls, async (request) => {
      const filter = {
        states: fromRolloutStates(request.states),
        firmwareId: request.firmwareId || undefined,
        firmwareVersion: request.firmwareVersion || undefined,
        metadata: fromMetadataFilter(request.metadata),
        showArchived: request.showArchived || undefined,
        matching: rolloutListFilter.read(request.filter),
      };
      const page = await listPage(pageTokens, request, filter, {
        list: (position) => catalog.list(filter, position),
        keyOf: ({ id }) => id,
      });
      return { rollouts: page.rows.map(message), nextPageToken: page.nextPageToken };
    }),

    unary(method.startRollout, apiCalls, async (request, context) => {
      const { state } = await catalog.get(request.id);
      const warnings = state === "DRAFT" ? await foresight.ofRollout(request.id, context.signal) : [];
      const answered = await steered(catalog.start(verb(request, context)));
      return { ...answered, warnings: warnings.map(toWarningMessage) };
    }),

    unary(method.promoteRollout, apiCalls, (request, context) =>
      steered(
        catalog.promote({
          ...verb(request, context),
          ring: request.ring || undefined,
          revision: request.etag || undefined,
        }),
      ),
    ),

    unary(method.pauseRollout, apiCalls, (request, context) =>
      steered(catalog.pause(verb(request, context))),
    ),

    unary(method.resumeRollout, apiCalls, (request, context) =>
      steered(catalog.resume(verb(request, context))),
    ),

    unary(method.approveRollout, apiCalls, (request, context) =>
      steered(catalog.approve({ ...verb(request, context), ring: request.ring || undefined })),
    ),

    unary(method.rollbackRollout, apiCalls, (request, context) =>
      steered(catalog.rollback({ ...verb(request, context), firmwareId: request.firmwareId || undefined })),
    ),

    unary(method.rollbackRing, apiCalls, (request, context) =>
      steered(catalog.rollbackRing({ ...verb(request, context), ring: request.ring })),
    ),

    unary(method.rollbackDevice, apiCalls, async (request, context) => {
      const update = await catalog.rollbackDevice({ ...verb(request, context), deviceId: request.deviceId });
      return { deviceUpdate: toDeviceUpdateMessage(update), effect: toVerbEffectMessage(update.effect) };
    }),

    unary(method.retryDevice, apiCalls, async (request, context) => {
      const { deviceId, reinstall } = request;
      const update = await catalog.retryDevice({ ...verb(request, context), deviceId, reinstall });
      return { deviceUpdate: toDeviceUpdateMessage(update), effect: toVerbEffectMessage(update.effect) };
    }),

    unary(method.listFailureReasons, apiCalls, async ({ id }) => ({
      failureReasons: (await catalog.listFailureReasons(id)).map(({ name, count }) => ({
        name,
        count: BigInt(count),
      })),
    })),

    unary(method.abortRollout, apiCalls, (request, context) =>
      steered(catalog.abort(verb(request, context))),
    ),

    unary(method.listDeviceUpdates, apiCalls, async (request, { signal }) => {
      const filter = fromUpdatesRequest(request);
      // What an expression asks may take a look at every device of a rollout; of one device there are few updates.
      const isLong = filter.matching !== undefined && filter.deviceId === undefined;
      const session = isLong ? heavyReads.for({ signal }) : undefined;
      const page = await listPage(pageTokens, request, filter, {
        list: (position) => catalog.listDeviceUpdates(filter, position, session),
        keyOf: ({ id }) => id,
      });
      return {
        deviceUpdates: page.rows.map(toDeviceUpdateMessage),
        nextPageToken: page.nextPageToken,
      };
    }),

    serverStream(method.watchRollout, apiCalls, async function* ({ id }, { signal }) {
      for await (const rollout of watch.watch(id, signal)) yield { rollout: message(rollout) };
    }),
  ];
}
