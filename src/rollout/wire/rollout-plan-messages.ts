import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import {
  type Duration,
  durationFromMs,
  durationMs,
  timestampDate,
  timestampFromDate,
} from "@bufbuild/protobuf/wkt";
import {
  HealthAction,
  type MaintenanceWindowSchema,
  type RolloutPolicySchema,
  type RolloutTargetingSchema,
} from "../../../gen/ota/v1/rollout_pb.js";
import type { NewPolicy, NewTargeting } from "../model/new-rollout.ts";
import type {
  HealthAction as HealthActionName,
  StoredPolicy,
  StoredTargeting,
  StoredWindow,
} from "../model/rollout.entity.ts";

/** Whom a rollout reaches, on the wire. */
export function toTargeting(
  targeting: Readonly<StoredTargeting>,
): MessageInitShape<typeof RolloutTargetingSchema> {
  const { percentBasisPoints, ...lists } = targeting;
  return { ...lists, percent: percentBasisPoints / 100 };
}

/** Maintenance windows on the wire. */
export function toWindows(
  windows: readonly Readonly<StoredWindow>[],
): MessageInitShape<typeof MaintenanceWindowSchema>[] {
  return windows.map(({ weekdays, start, durationMs: ms, timeZone }) => ({
    weekdays,
    start,
    duration: durationFromMs(ms),
    timeZone,
  }));
}

/** How a rollout proceeds, on the wire. */
export function toPolicy(policy: Readonly<StoredPolicy>): MessageInitShape<typeof RolloutPolicySchema> {
  return {
    failureThresholdPercent: policy.failureThresholdPercent,
    failureMinSample: policy.failureMinSample,
    ...given("failureCountLimit", policy.failureCountLimit),
    verificationDuration: durationFromMs(policy.verificationMs),
    deviceTimeout: durationFromMs(policy.deviceTimeoutMs),
    crashLimit: policy.crashLimit,
    ...given("maxInProgress", policy.maxInProgress),
    pauseOnFailure: policy.pauseOnFailure,
    ...(policy.startAt === null ? {} : { startTime: timestampFromDate(new Date(policy.startAt)) }),
    ...given("offersPerMinute", policy.offersPerMinute),
    priority: policy.priority,
    maxRetries: policy.maxRetries,
    retryBackoff: durationFromMs(policy.retryBackoffMs),
    ...(policy.maxMeteredBytes === null ? {} : { maxMeteredBytes: BigInt(policy.maxMeteredBytes) }),
    storageFactor: policy.storageFactor,
    maintenanceWindows: toWindows(policy.maintenanceWindows),
    requireUserConsent: policy.requireUserConsent,
    allowDowngrade: policy.allowDowngrade,
    rollbackFirmwareId: policy.rollbackFirmwareId ?? "",
    onWorseHealth:
      policy.onWorseHealth === "DEFAULT" ? HealthAction.UNSPECIFIED : HealthAction[policy.onWorseHealth],
    healthAlpha: policy.healthAlpha,
  };
}

/** What a validated request says of whom to reach. */
export function fromTargeting(
  targeting: MessageShape<typeof RolloutTargetingSchema> | undefined,
): NewTargeting {
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

/** What a validated request says of how to proceed. */
export function fromPolicy(policy: MessageShape<typeof RolloutPolicySchema> | undefined): NewPolicy {
  if (policy === undefined) return { pauseOnFailure: false };
  return {
    failureThresholdPercent: policy.failureThresholdPercent,
    failureMinSample: policy.failureMinSample,
    failureCountLimit: policy.failureCountLimit,
    verificationMs: optionalMs(policy.verificationDuration),
    deviceTimeoutMs: optionalMs(policy.deviceTimeout),
    crashLimit: policy.crashLimit,
    maxInProgress: policy.maxInProgress,
    pauseOnFailure: policy.pauseOnFailure,
    startAt: policy.startTime === undefined ? undefined : timestampDate(policy.startTime),
    offersPerMinute: policy.offersPerMinute,
    priority: policy.priority,
    maxRetries: policy.maxRetries,
    retryBackoffMs: optionalMs(policy.retryBackoff),
    maxMeteredBytes: policy.maxMeteredBytes === undefined ? undefined : Number(policy.maxMeteredBytes),
    storageFactor: policy.storageFactor,
    maintenanceWindows: policy.maintenanceWindows.map(({ weekdays, start, duration, timeZone }) => ({
      weekdays,
      start,
      durationMs: optionalMs(duration) ?? minWindowMs,
      timeZone,
    })),
    requireUserConsent: policy.requireUserConsent,
    allowDowngrade: policy.allowDowngrade,
    rollbackFirmwareId: policy.rollbackFirmwareId || undefined,
    onWorseHealth: actionNames[policy.onWorseHealth] ?? "DEFAULT",
    healthAlpha: policy.healthAlpha,
  };
}

/** A duration in milliseconds, if it is given. */
export function optionalMs(duration: Duration | undefined): number | undefined {
  return duration === undefined ? undefined : durationMs(duration);
}

/** The shortest window that the contract allows. */
const minWindowMs = 5 * 60_000;

const actionNames: Readonly<Partial<Record<HealthAction, HealthActionName>>> = {
  [HealthAction.NONE]: "NONE",
  [HealthAction.PAUSE]: "PAUSE",
  [HealthAction.ROLLBACK]: "ROLLBACK",
};

function given<Name extends string>(name: Name, value: number | null): { [name in Name]?: number } {
  return value === null ? {} : ({ [name]: value } as { [name in Name]: number });
}
