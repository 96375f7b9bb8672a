import { randomUUID } from "node:crypto";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { accessEndpoints } from "../access/access-handlers.ts";
import { peopleEndpoints } from "../access/oidc/people-handlers.ts";
import { PeopleRegister } from "../access/oidc/people-register.ts";
import { alertEndpoints } from "../alert/alert-handlers.ts";
import { webhookEndpoints } from "../alert/webhook/webhook-handlers.ts";
import type { ServingState } from "../api/grpc/health-handlers.ts";
import { healthEndpoints } from "../api/grpc/health-handlers.ts";
import { reflectionEndpoints } from "../api/grpc/reflection-handlers.ts";
import { contractServices, EndpointTable } from "../api/pipeline/endpoint-table.ts";
import type { Places } from "../api/pipeline/places.ts";
import type { RateLimiter } from "../api/pipeline/rate-limit.ts";
import { scopedEndpoint } from "../api/pipeline/scoped-endpoint.ts";
import { tracedEndpoint } from "../api/pipeline/traced-endpoint.ts";
import { callingDevice, shallRotate } from "../call/identity.ts";
import { errorEndpoints } from "../crash/error-handlers.ts";
import type { OpenUpdates } from "../device/fleet/status-overview.ts";
import { DeviceBatches } from "../device/registry/device-batch.ts";
import { deviceEndpoints } from "../device/registry/device-handlers.ts";
import { deviceTypeEndpoints } from "../device/registry/device-type-handlers.ts";
import { modelAliasEndpoints } from "../device/registry/model-alias-handlers.ts";
import { ModelAliases } from "../device/registry/model-aliases.ts";
import { SavedFilters } from "../device/registry/saved-filters.ts";
import { attachmentEndpoints } from "../firmware/attachment-handlers.ts";
import { firmwareEndpoints } from "../firmware/firmware-handlers.ts";
import { tufEndpoints } from "../firmware/repository/tuf-handlers.ts";
import type { TufRepositories } from "../firmware/repository/tuf-repositories.ts";
import type { Directive } from "../heartbeat/directive.ts";
import { ByteBudgets } from "../heartbeat/heartbeat-bytes.ts";
import { heartbeatEndpoints } from "../heartbeat/heartbeat-handlers.ts";
import { StreamOpenings } from "../heartbeat/stream-openings.ts";
import { deployEndpoints } from "../rollout/decide/deploy-handlers.ts";
import { recordEndpoints } from "../rollout/decide/record-handlers.ts";
import { rolloutEndpoints } from "../rollout/decide/rollout-handlers.ts";
import { foresightEndpoints } from "../rollout/foresight/foresight-handlers.ts";
import { rolloutHealthEndpoints } from "../rollout/health/health-handlers.ts";
import { updateEndpoints } from "../rollout/offer/update-handlers.ts";
import { OperatorScopes } from "../rollout/operator-scopes.ts";
import { explainEndpoints } from "../rollout/preview/explain-handlers.ts";
import { recallEndpoints } from "../rollout/recall/recall-handlers.ts";
import type { RolloutEngine } from "../rollout/rollout-engine.ts";
import { telemetryEndpoints } from "../telemetry/telemetry-handlers.ts";
import type { Access } from "./access.ts";
import type { AlertFeature } from "./alerts.ts";
import type { Devices } from "./devices.ts";
import type { Foundation } from "./foundation.ts";
import type { Oidc } from "./oidc.ts";
import type { Updates } from "./updates.ts";

/** What the endpoints are made of. */
export interface EndpointParts {
  readonly foundation: Foundation;
  readonly access: Access;
  readonly oidc: Oidc;
  readonly devices: Devices;
  readonly updates: Updates;
  readonly tuf: TufRepositories;
  readonly alerts: AlertFeature;
  readonly rateLimiter: RateLimiter;
  readonly places: Places;
  readonly serving: ServingState;
}

/** Every RPC of the service with its handler. */
export function endpointTable({
  foundation,
  access,
  oidc,
  devices,
  updates,
  tuf,
  alerts,
  rateLimiter,
  places,
  serving,
}: EndpointParts): EndpointTable {
  const { config, logger, clock, metrics, background, database, idempotency } = foundation;
  const { audit, enrolmentKeys, tokens, signingKeys, requirements, pageTokens } = access;
  const { changes, fleet, facts, enrolment, creation, registry, reinstatement, types, heartbeatIntervalMs } =
    devices;
  const { firmware, attachments, uploads, streams, rollouts, crashes, history, telemetry, ingest, faults } =
    updates;
  const openUpdates = updatesIn(rollouts);
  const view = fleet.view({ updates: openUpdates, streams });
  background.add(view.watch.round);
  const scopes = new OperatorScopes({ session: database.pool, clock, heartbeatIntervalMs });
  const endpoints = [
    ...accessEndpoints({
      tokens,
      enrolmentKeys,
      signingKeys,
      requirements,
      audit,
      heavyReads: database.heavyReads,
      pageTokens,
      settings: config.settings,
    }),
    ...alertEndpoints({ ...alerts, pageTokens }),
    ...webhookEndpoints({ webhooks: alerts.webhooks, pageTokens }),
    ...peopleEndpoints({
      people: new PeopleRegister({ database, audit, clock, memory: oidc?.people }),
      pageTokens,
    }),
    ...deviceEndpoints({
      enrolment,
      creation,
      registry,
      reinstatement,
      keyReplacement: devices.keyReplacement,
      tokenRotation: devices.tokenRotation,
      standings: devices.standings,
      faults: devices.faults,
      batches: new DeviceBatches({
        database,
        audit,
        changes,
        registry,
        standings: devices.standings,
        tokenRotation: devices.tokenRotation,
        maxStandings: config.maxStandingChanges,
        clock,
        heartbeatIntervalMs,
      }),
      savedFilters: new SavedFilters({ database, idempotency, audit }),
      ...view,
      updates: openUpdates,
      pageTokens,
      clock,
      heartbeatIntervalMs,
    }),
    ...deviceTypeEndpoints(types),
    ...modelAliasEndpoints(new ModelAliases({ database, audit })),
    ...firmwareEndpoints({ catalog: firmware, uploads, pageTokens }),
    ...attachmentEndpoints(attachments),
    ...tufEndpoints(tuf),
    ...deployEndpoints(rollouts),
    ...rolloutHealthEndpoints({ catalog: rollouts.catalog, health: rollouts.health, clock }),
    ...rolloutEndpoints({
      catalog: rollouts.catalog,
      watch: rollouts.watch,
      health: rollouts.health,
      hearing: rollouts.hearing,
      foresight: rollouts.foresight,
      heavyReads: database.heavyReads,
      pageTokens,
    }),
    ...recordEndpoints({ records: rollouts.records, health: rollouts.health, hearing: rollouts.hearing }),
    ...explainEndpoints(rollouts),
    ...recallEndpoints({
      recalls: rollouts.recalls,
      recallPreview: rollouts.recallPreview,
      pageTokens,
    }),
    ...foresightEndpoints({
      preview: rollouts.preview,
      index: rollouts.index,
      pool: database.pool,
      heartbeatIntervalMs,
    }),
    ...updateEndpoints({
      offers: rollouts.offers,
      directUrls: updates.directUrls,
      metrics: metrics.updates,
      waiting: updates.waiting,
      places,
      clock,
      longestWaitMs: Math.min(config.updateCheckWaitMs, waitIntervals * heartbeatIntervalMs),
    }),
    ...telemetryEndpoints(telemetry, pageTokens),
    ...heartbeatEndpoints({
      ingest,
      faults,
      streams,
      openings: new StreamOpenings(database.pool),
      observers: [rollouts, facts],
      boots: devices.clones,
      consumeRate: (deviceId, points) => rateLimiter.consume("heartbeat", deviceId, points),
      budgets: new ByteBudgets(config.heartbeatBytes, clock),
      history,
      heavyReads: database.heavyReads,
      pendingDirectives: (identity) => [
        ...(shallRotate(identity) ? [{ id: randomUUID(), kind: "rotate_token" } as const] : []),
        ...waitingUpdates(rollouts, callingDevice(identity, "send heartbeats")),
      ],
      pageTokens,
      clock,
      logger,
      heartbeatIntervalMs,
      heartbeatJitterMs: heartbeatIntervalMs / jitterShare,
    }),
    ...errorEndpoints({
      groups: crashes.groups,
      merges: crashes.merges,
      rules: crashes.rules,
      trials: crashes.trials,
      symbols: crashes.symbols,
      sourceLines: crashes.sourceLines,
      logs: crashes.logs,
      pageTokens,
      pool: database.pool,
    }),
    ...healthEndpoints(serving, contractServices),
    ...reflectionEndpoints([...contractServices, Health]),
  ];
  const scoped = endpoints.map((endpoint) => scopedEndpoint(endpoint, scopes));
  return new EndpointTable(foundation.tracing === undefined ? scoped : scoped.map(tracedEndpoint));
}

/** A check that waits so many heartbeat intervals, and comes again a moment later, keeps its device online. */
const waitIntervals = 1.25;

/** The share of the heartbeat interval that devices add at random. */
const jitterShare = 10;

/** The tracker holds every open update, so nobody has to ask the database. */
function updatesIn({ tracker }: RolloutEngine): OpenUpdates {
  return {
    openUpdateCount: async () => tracker.size,
    openUpdateIds: async (deviceIds) => {
      const ids = new Map<string, string>();
      for (const deviceId of deviceIds) {
        const update = tracker.get(deviceId);
        if (update !== undefined) ids.set(deviceId, update.id);
      }
      return ids;
    },
  };
}

/** What a device that polls is told with the answer to its heartbeat; a device that is not in memory learns it next time. */
function waitingUpdates({ offers }: RolloutEngine, deviceId: string): Directive[] {
  const rolloutId = offers.waitingFor(deviceId);
  if (rolloutId instanceof Promise) {
    rolloutId.catch(() => undefined);
    return [];
  }
  return rolloutId === undefined ? [] : [{ id: randomUUID(), kind: "update_available", rolloutId }];
}
