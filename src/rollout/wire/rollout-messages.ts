import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { timestampFromDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { UpdateKind } from "../../../gen/ota/v1/firmware_pb.js";
import {
  type DeviceUpdateSchema,
  DeviceUpdateState,
  HealthVerdict,
  type RingCensusSchema,
  type RingSchema,
  type RingSpecSchema,
  RingState,
  type RolloutPolicySchema,
  type RolloutSchema,
  RolloutState,
  type RolloutTargetingSchema,
  UpdateAction,
  type VerbEffectSchema,
} from "../../../gen/ota/v1/rollout_pb.js";
import type {
  GetRolloutDefaultsResponseSchema,
  ListDeviceUpdatesRequestSchema,
} from "../../../gen/ota/v1/rollout_service_pb.js";
import {
  fromGateMessage,
  fromPolicyMessage,
  toGateMessage,
  toPolicyMessage,
} from "../../policy/policy-messages.ts";
import type { RingState as RingStateName } from "../model/deployment-ring.entity.ts";
import type {
  DeviceUpdateState as DeviceUpdateStateName,
  UpdateAction as UpdateActionName,
} from "../model/device-update.entity.ts";
import { deviceUpdateListFilter } from "../model/device-update-filter.ts";
import type { DeviceUpdateFilter, DeviceUpdateRecord } from "../model/device-update-list.ts";
import { evaluateRing } from "../model/gate.ts";
import { type GateCheck, type GateContext, gateChecks } from "../model/gate-checks.ts";
import type { RolloutHealthVerdict } from "../model/health-verdict.ts";
import { type HeardTime, heardRollout } from "../model/heard-time.ts";
import {
  type NewRing,
  type NewRollout,
  type NewTargeting,
  planGate,
  planPolicy,
  planRings,
  type RolloutDefaults,
} from "../model/new-rollout.ts";
import { remediesOf } from "../model/remedies.ts";
import type { Metadata, RolloutState as RolloutStateName, StoredTargeting } from "../model/rollout.entity.ts";
import { awaitedApproval, type Ring, type RingCensusCounts, type Rollout } from "../model/rollout.ts";
import type { VerbEffect } from "../model/verb-effect.ts";
import { fromMetadata, fromMetadataFilter } from "./metadata-messages.ts";
import { toRemedyMessage } from "./warning-messages.ts";

/** A rollout on the wire; gates are judged as of now, by the time in which devices could be heard. */
export function toRolloutMessage(
  rollout: Rollout,
  hearing: HeardTime,
  health?: RolloutHealthVerdict,
): MessageInitShape<typeof RolloutSchema> {
  const now = hearing.now();
  const judged = heardRollout(rollout, hearing, now);
  const { policy, rollback, startedAt, endedAt } = rollout;
  const inProgress = rollback.total - rollback.completed - rollback.failed;
  const total = rollback.total + rollback.waiting;
  return {
    id: rollout.id,
    salt: rollout.salt,
    name: rollout.name,
    firmwareId: rollout.firmwareId,
    product: rollout.product,
    version: rollout.version,
    state: RolloutState[rollout.state],
    kind: UpdateKind[rollout.kind],
    component: rollout.component,
    creator: rollout.creator,
    alert: rollout.alert,
    remedies: remediesOf(rollout).map(toRemedyMessage),
    awaitingApprovalRing: awaitedApproval(rollout)?.name ?? "",
    targeting: toTargeting(rollout.targeting),
    policy: toPolicyMessage(policy),
    rings: rollout.rings.map((ring, at) =>
      toRingMessage(ring, gateStanding(judged, judged.rings[at] ?? ring, now, health)),
    ),
    healthVerdict: HealthVerdict[health?.verdict ?? "NOT_ENOUGH_DATA"],
    stateReason: rollout.stateReason,
    ...(rollout.state === "ROLLING_BACK" || rollout.state === "ROLLED_BACK" || total > 0
      ? {
          rollback: {
            total: BigInt(total),
            completed: BigInt(rollback.completed),
            inProgress: BigInt(inProgress),
            failed: BigInt(rollback.failed),
            blocked: BigInt(rollback.blocked),
            waiting: BigInt(rollback.waiting),
            away: BigInt(rollback.away),
          },
        }
      : {}),
    createTime: timestampFromDate(rollout.createdAt),
    updateTime: timestampFromDate(rollout.updatedAt),
    ...(startedAt === undefined ? {} : { startTime: timestampFromDate(startedAt) }),
    ...(endedAt === undefined ? {} : { endTime: timestampFromDate(endedAt) }),
    etag: String(rollout.revision),
    recalledVersion: rollout.recalledVersion ?? "",
    metadata: rollout.metadata,
    ...(rollout.archivedAt === undefined ? {} : { archiveTime: timestampFromDate(rollout.archivedAt) }),
  };
}

/** What a verb changed, on the wire. */
export function toVerbEffectMessage(effect: VerbEffect): MessageInitShape<typeof VerbEffectSchema> {
  return {
    unchanged: effect.unchanged,
    message: effect.message,
    openedRings: [...effect.openedRings],
    approvedRing: effect.approvedRing,
    cancelledCount: BigInt(effect.cancelled),
    rollbackCount: BigInt(effect.rollbacks),
    blockedCount: BigInt(effect.blocked),
    waitingCount: BigInt(effect.waiting),
    remainingCount: BigInt(effect.remaining),
    retryCount: BigInt(effect.retries),
    pausedRolloutCount: BigInt(effect.pausedRollouts),
  };
}

/** What holds for a new rollout that says nothing, on the wire. */
export function toDefaultsMessage(
  settings: RolloutDefaults,
): MessageInitShape<typeof GetRolloutDefaultsResponseSchema> {
  return {
    policy: toPolicyMessage(planPolicy({}, settings)),
    rings: planRings([]).map(({ name, percentBasisPoints, gate }) => ({
      name,
      percent: percentBasisPoints / 100,
      gate: toGateMessage(gate),
    })),
    gate: toGateMessage(planGate()),
  };
}

/** A device's part in a rollout on the wire. */
export function toDeviceUpdateMessage(
  update: DeviceUpdateRecord,
): MessageInitShape<typeof DeviceUpdateSchema> {
  const { provenMs, endedMs, deadlineMs } = update;
  return {
    id: update.id,
    rolloutId: update.rolloutId,
    deviceId: update.deviceId,
    firmwareId: update.firmwareId,
    action: UpdateAction[update.action],
    state: DeviceUpdateState[update.state],
    ring: update.ring,
    fromVersion: update.fromVersion,
    toVersion: update.toVersion,
    failureReason: update.failureReason,
    failureMessage: update.failureMessage,
    downloadedBytes: BigInt(update.downloadedBytes),
    offerTime: timestampFromMs(Math.round(update.offeredMs)),
    updateTime: timestampFromMs(Math.round(update.updatedMs)),
    ...(provenMs === null ? {} : { proveTime: timestampFromMs(Math.round(provenMs)) }),
    ...(endedMs === null ? {} : { endTime: timestampFromMs(Math.round(endedMs)) }),
    ...(deadlineMs === null ? {} : { deadlineTime: timestampFromMs(Math.round(deadlineMs)) }),
    attempt: Math.max(0, update.attempt),
    ...(update.retryMs === null ? {} : { retryTime: timestampFromMs(Math.round(update.retryMs)) }),
    component: update.component,
    metadata: update.metadata,
    archived: update.archived,
    ...(update.missingMs === null ? {} : { missingSinceTime: timestampFromMs(Math.round(update.missingMs)) }),
    ...(update.driftedMs === null ? {} : { driftTime: timestampFromMs(Math.round(update.driftedMs)) }),
    driftVersion: update.driftedTo,
  };
}

/** What a validated request wants of a new rollout. */
export function fromNewRollout(request: {
  readonly firmwareId: string;
  readonly name: string;
  readonly targeting?: MessageShape<typeof RolloutTargetingSchema> | undefined;
  readonly policy?: MessageShape<typeof RolloutPolicySchema> | undefined;
  readonly rings: readonly MessageShape<typeof RingSpecSchema>[];
  readonly metadata?: Metadata;
  readonly salt: string;
}): NewRollout {
  return {
    firmwareId: request.firmwareId,
    name: request.name,
    targeting: fromTargeting(request.targeting),
    policy: fromPolicyMessage(request.policy),
    rings: request.rings.map(fromRing),
    metadata: fromMetadata(request.metadata),
    // The database writes it so.
    ...(request.salt === "" ? {} : { salt: request.salt.toLowerCase() }),
  };
}

/** The filters of a validated list request. */
export function fromUpdatesRequest(
  request: MessageShape<typeof ListDeviceUpdatesRequestSchema>,
): DeviceUpdateFilter {
  return {
    rolloutId: request.rolloutId || undefined,
    deviceId: request.deviceId || undefined,
    states: request.states.map((state) => nameOf(DeviceUpdateState, state) as DeviceUpdateStateName),
    ring: request.ring || undefined,
    failureReason: request.failureReason || undefined,
    missing: request.missing || undefined,
    drifted: request.drifted || undefined,
    metadata: fromMetadataFilter(request.metadata),
    showArchived: request.showArchived || undefined,
    matching: deviceUpdateListFilter.read(request.filter),
    action:
      request.action === UpdateAction.UNSPECIFIED
        ? undefined
        : (nameOf(UpdateAction, request.action) as UpdateActionName),
  };
}

/** The names of rollout states from a validated request. */
export function fromRolloutStates(states: readonly RolloutState[]): RolloutStateName[] {
  return states.map((state) => nameOf(RolloutState, state) as RolloutStateName);
}

/** A validated state's name in the domain, which is the contract's without its prefix. */
export function fromUpdateState(state: DeviceUpdateState): DeviceUpdateStateName {
  return nameOf(DeviceUpdateState, state) as DeviceUpdateStateName;
}

/** A device update's state on the wire. */
export function toUpdateState(state: DeviceUpdateStateName): DeviceUpdateState {
  return DeviceUpdateState[state];
}

function toRingMessage(ring: Ring, standing: GateStanding): MessageInitShape<typeof RingSchema> {
  const { counters, gate, openedAt, passedAt, census } = ring;
  return {
    name: ring.name,
    // Two decimals of a basis point.
    percent: Math.round(ring.percentBasisPoints * 100) / 10_000,
    devices: ring.deviceTarget ?? 0,
    state: RingState[ring.state satisfies RingStateName],
    gate: toGateMessage(gate),
    approver: ring.approver,
    metadata: ring.metadata,
    ...(ring.approvedAt === undefined ? {} : { approveTime: timestampFromDate(ring.approvedAt) }),
    counters: {
      offered: BigInt(counters.offered),
      inProgress: BigInt(counters.inProgress),
      succeeded: BigInt(counters.succeeded),
      failed: BigInt(counters.failed),
      cancelled: BigInt(counters.cancelled),
      rolledBack: BigInt(counters.rolledBack),
      began: BigInt(counters.began),
      missing: BigInt(counters.missing),
      drifted: BigInt(counters.drifted),
    },
    ...(census === undefined
      ? {}
      : {
          census: { ...toCensusMessage(census), countTime: timestampFromDate(census.countedAt) },
        }),
    ...standing,
    ...(openedAt === undefined ? {} : { openTime: timestampFromDate(openedAt) }),
    ...(passedAt === undefined ? {} : { passTime: timestampFromDate(passedAt) }),
  };
}

/** How many devices a ring holds, on the wire. */
export function toCensusMessage(census: RingCensusCounts): MessageInitShape<typeof RingCensusSchema> {
  const { devices, eligible, awaited, reachable, heldBack, gone } = census;
  return {
    devices: BigInt(devices),
    eligible: BigInt(eligible),
    awaited: BigInt(awaited),
    reachable: BigInt(reachable),
    heldBack: BigInt(heldBack),
    gone: BigInt(gone),
  };
}

/** How the gate of a ring stands: in words, and by rule. */
interface GateStanding {
  readonly gateStatus: string;
  readonly gateChecks: GateCheck[];
}

function gateStanding(
  rollout: Rollout,
  ring: Ring,
  now: Date,
  health: RolloutHealthVerdict | undefined,
): GateStanding {
  const { policy, rings, recalledVersion } = rollout;
  if (recalledVersion !== undefined)
    return { gateStatus: `open for as long as ${recalledVersion} is recalled`, gateChecks: [] };
  const context = {
    isLast: ring === rings.at(-1),
    before: rings.slice(0, ring.position),
    next: rings[ring.position + 1],
    health,
  };
  return {
    gateStatus: gateStatus(ring, policy, now, context),
    gateChecks: gateChecks(ring, policy, now, context),
  };
}

function gateStatus(ring: Ring, policy: Rollout["policy"], now: Date, context: GateContext): string {
  if (ring.state === "WAITING") return "not open yet";
  if (ring.state === "PASSED") return "passed";
  const { verdict, missing } = evaluateRing(ring, policy, now, context);
  return verdict === "promote" ? "holds" : missing.join("; ");
}

function fromRing({ name, percent, devices, gate, metadata }: MessageShape<typeof RingSpecSchema>): NewRing {
  return { name, percent, devices, gate: fromGateMessage(gate), metadata: fromMetadata(metadata) };
}

function toTargeting(targeting: Readonly<StoredTargeting>): MessageInitShape<typeof RolloutTargetingSchema> {
  const { percentBasisPoints, ...lists } = targeting;
  return { ...lists, percent: percentBasisPoints / 100 };
}

function fromTargeting(targeting: MessageShape<typeof RolloutTargetingSchema> | undefined): NewTargeting {
  if (targeting === undefined) return {};
  const { deviceTypes, hardwareModels, groups, currentVersionRange, tags, filter, percent } = targeting;
  const { excludedGroups, canaryGroups } = targeting;
  return {
    deviceTypes,
    hardwareModels,
    groups,
    currentVersionRange,
    tags,
    filter,
    excludedGroups,
    canaryGroups,
    percent,
  };
}

function nameOf(names: Readonly<Record<number, string>>, value: number): string {
  return names[value] ?? "";
}
