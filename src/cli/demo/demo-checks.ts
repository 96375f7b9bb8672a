import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { AuditEvent } from "../../../gen/ota/v1/access_pb.js";
import type { GetDeviceStatusOverviewResponse } from "../../../gen/ota/v1/device_service_pb.js";
import type { ReceivedHeartbeat } from "../../../gen/ota/v1/heartbeat_service_pb.js";
import {
  type DeviceUpdate,
  DeviceUpdateState,
  RingState,
  type Rollout,
  RolloutState,
  RolloutStateSchema,
  UpdateAction,
} from "../../../gen/ota/v1/rollout_pb.js";
import { countText, durationMsText, enumText } from "../format.ts";
import { badVersion, brickingVersion, goodVersion } from "./story-plan.ts";

/** What the service answered; every claim of the summary is computed from it and nothing else. */
export interface Evidence {
  /** How many devices the demo enrolled. */
  readonly devices: number;
  readonly good: {
    readonly rollout: Rollout;
    readonly updates: readonly DeviceUpdate[];
    /** The fleet when the rollout was through. */
    readonly overview: GetDeviceStatusOverviewResponse;
  };
  readonly bad: {
    readonly rollout: Rollout;
    readonly updates: readonly DeviceUpdate[];
    /** The fleet when the rollback was through. */
    readonly overview: GetDeviceStatusOverviewResponse;
    /** What the audit log has of the rollout. */
    readonly audit: readonly AuditEvent[];
    /** The history of a device that failed. */
    readonly crashedHeartbeats: readonly ReceivedHeartbeat[];
  };
  readonly bricking: {
    readonly rollout: Rollout;
    readonly updates: readonly DeviceUpdate[];
    /** What the audit log has of the rollout. */
    readonly audit: readonly AuditEvent[];
  };
}

/** One claim of the summary. */
export interface Check {
  readonly claim: string;
  readonly ok: boolean;
  /** The numbers behind it. */
  readonly detail: string;
}

/** Checks the whole story. */
export function checkStory(evidence: Evidence): Check[] {
  return [...checkGood(evidence), ...checkBad(evidence), ...checkBricking(evidence)];
}

function checkGood({ devices, good }: Evidence): Check[] {
  const { rollout, updates, overview } = good;
  const proven = updates.filter(
    ({ state, proveTime }) => state === DeviceUpdateState.SUCCEEDED && proveTime !== undefined,
  );
  return [
    {
      claim: `${goodVersion} reached every device`,
      ok: overview.totalCount === BigInt(devices) && runs(overview, goodVersion) === BigInt(devices),
      detail: `${runs(overview, goodVersion)} of ${overview.totalCount} devices ran it, by their heartbeats`,
    },
    {
      claim: "its rollout completed by itself",
      ok: rollout.state === RolloutState.COMPLETED,
      detail: `state: ${enumText(RolloutStateSchema, rollout.state)}`,
    },
    {
      claim: "every ring passed its gate before the next one opened",
      ok: rollout.rings.length > 1 && rollout.rings.every(isPassed) && inOrder(rollout),
      detail: rollout.rings.map(({ name, counters }) => `${name} ${counters?.succeeded ?? 0n}`).join(" → "),
    },
    {
      claim: "every update was proven by heartbeats after the reboot",
      ok: updates.length === devices && proven.length === devices,
      detail: `${proven.length} of ${countText(updates.length, "device update")} succeeded with a proof`,
    },
  ];
}

function checkBad({ devices, bad }: Evidence): Check[] {
  const { rollout, updates, overview, audit, crashedHeartbeats } = bad;
  const installs = updates.filter(({ action }) => action === UpdateAction.INSTALL);
  const returns = updates.filter(({ action }) => action === UpdateAction.ROLLBACK);
  const back = returns.filter(
    ({ state, toVersion, proveTime }) =>
      state === DeviceUpdateState.SUCCEEDED && toVersion === goodVersion && proveTime !== undefined,
  );
  const failed = installs.filter(({ state }) => state === DeviceUpdateState.FAILED);
  const crashes = crashedHeartbeats.filter(({ heartbeat }) =>
    (heartbeat?.errors ?? []).some(({ fatal }) => fatal),
  );
  const decision = rollbackByRule(audit);
  const { rollback } = rollout;
  return [
    {
      claim: `${badVersion} was stopped by its canary ring`,
      ok: isStoppedByCanary(rollout),
      detail: `${failed.length} of ${countText(installs.length, "canary device")} failed`,
    },
    {
      claim: "most of the fleet never saw it",
      ok: installs.length > 0 && installs.length < devices / 2,
      detail: `offered to ${installs.length} of ${devices} devices`,
    },
    {
      claim: "the rollout rolled back by itself",
      ok: rollout.state === RolloutState.ROLLED_BACK && decision !== undefined,
      detail:
        decision === undefined
          ? "no automatic decision in the audit log"
          : `${decision.actor}: ${decision.reason}`,
    },
    {
      claim: "the crashes are in the heartbeat history",
      ok: crashes.length > 0,
      detail: `${countText(crashes.length, "crash report")} of one failed device`,
    },
    {
      claim: `every device that took it is back on ${goodVersion}, proven by heartbeats`,
      ok:
        returns.length > 0 &&
        back.length === returns.length &&
        rollback?.total === BigInt(returns.length) &&
        rollback.completed === rollback.total,
      detail: `${back.length} of ${countText(returns.length, "device")} rolled back${tookText(rollout)}`,
    },
    {
      claim: "the whole fleet is well",
      ok: runs(overview, goodVersion) === BigInt(devices) && overview.onlineCount === BigInt(devices),
      detail: `${overview.onlineCount} of ${overview.totalCount} online, ${runs(overview, goodVersion)} on ${goodVersion}, ${runs(overview, badVersion)} on ${badVersion}`,
    },
  ];
}

function checkBricking({ devices, bricking }: Evidence): Check[] {
  const { rollout, updates, audit } = bricking;
  const installs = updates.filter(({ action }) => action === UpdateAction.INSTALL);
  const told = installs.filter(
    ({ state }) => state === DeviceUpdateState.FAILED || state === DeviceUpdateState.SUCCEEDED,
  );
  const decision = rollbackByRule(audit);
  return [
    {
      claim: `${brickingVersion} was stopped by its canary ring, though no device said that it failed`,
      ok: isStoppedByCanary(rollout) && installs.length > 0 && told.length === 0,
      detail: `${told.length} of ${countText(installs.length, "canary device")} were ever heard again`,
    },
    {
      claim: "their silence rolled it back by itself",
      ok: decision?.reason.includes("missing") === true,
      detail:
        decision === undefined
          ? "no automatic decision in the audit log"
          : `${decision.actor}: ${decision.reason}`,
    },
    {
      claim: "most of the fleet was never offered it",
      ok: installs.length < devices / 2,
      detail: `offered to ${installs.length} of ${devices} devices`,
    },
  ];
}

function isStoppedByCanary({ rings: [canary, ...later] }: Rollout): boolean {
  return canary?.state === RingState.FAILED && later.every(({ state }) => state === RingState.WAITING);
}

function rollbackByRule(audit: readonly AuditEvent[]): AuditEvent | undefined {
  return audit.find(({ action, actor }) => action === "rollout.rollback" && actor.startsWith("system:"));
}

function runs(overview: GetDeviceStatusOverviewResponse, version: string): bigint {
  return overview.firmwareVersions.find(({ name }) => name === version)?.count ?? 0n;
}

function isPassed({ state }: { readonly state: RingState }): boolean {
  return state === RingState.PASSED;
}

function inOrder({ rings }: Rollout): boolean {
  return rings.slice(1).every(({ openTime }, index) => {
    const before = rings[index]?.passTime;
    return openTime !== undefined && before !== undefined && timestampMs(openTime) >= timestampMs(before);
  });
}

function tookText({ startTime, endTime }: Rollout): string {
  if (startTime === undefined || endTime === undefined) return "";
  return `, ${durationMsText(timestampMs(endTime) - timestampMs(startTime))} after its start`;
}
