import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { AuditEventSchema } from "../../../gen/ota/v1/access_pb.js";
import { GetDeviceStatusOverviewResponseSchema } from "../../../gen/ota/v1/device_service_pb.js";
import { ReceivedHeartbeatSchema } from "../../../gen/ota/v1/heartbeat_service_pb.js";
import {
  type DeviceUpdate,
  DeviceUpdateSchema,
  DeviceUpdateState,
  RingState,
  type Rollout,
  RolloutSchema,
  RolloutState,
  UpdateAction,
} from "../../../gen/ota/v1/rollout_pb.js";
import { checkStory, type Evidence } from "./demo-checks.ts";

const at = (seconds: number) => timestampFromMs(Date.UTC(2026, 0, 1) + seconds * 1000);

function update(state: DeviceUpdateState, action: UpdateAction, toVersion: string): DeviceUpdate {
  const proven = state === DeviceUpdateState.SUCCEEDED ? { proveTime: at(1) } : {};
  return create(DeviceUpdateSchema, { state, action, toVersion, ...proven });
}

function overview(devices: number, versions: Record<string, number>) {
  return create(GetDeviceStatusOverviewResponseSchema, {
    totalCount: BigInt(devices),
    onlineCount: BigInt(devices),
    firmwareVersions: Object.entries(versions).map(([name, count]) => ({ name, count: BigInt(count) })),
  });
}

function goodRollout(): Rollout {
  return create(RolloutSchema, {
    state: RolloutState.COMPLETED,
    rings: [
      { name: "canary", state: RingState.PASSED, openTime: at(0), passTime: at(5) },
      { name: "production", state: RingState.PASSED, openTime: at(5), passTime: at(9) },
    ],
  });
}

function badRollout(): Rollout {
  return create(RolloutSchema, {
    state: RolloutState.ROLLED_BACK,
    startTime: at(10),
    endTime: at(20),
    rings: [
      { name: "canary", state: RingState.FAILED },
      { name: "production", state: RingState.WAITING },
    ],
    rollback: { total: 1n, completed: 1n },
  });
}

/** Four devices; one took the bad version, crashed and came back. */
function truth(): Evidence {
  const succeeded = update(DeviceUpdateState.SUCCEEDED, UpdateAction.INSTALL, "1.1.0");
  return {
    devices: 4,
    good: {
      rollout: goodRollout(),
      updates: Array(4).fill(succeeded),
      overview: overview(4, { "1.1.0": 4 }),
    },
    bad: {
      rollout: badRollout(),
      updates: [
        update(DeviceUpdateState.FAILED, UpdateAction.INSTALL, "1.2.0"),
        update(DeviceUpdateState.SUCCEEDED, UpdateAction.ROLLBACK, "1.1.0"),
      ],
      overview: overview(4, { "1.1.0": 4 }),
      audit: [create(AuditEventSchema, { actor: "system:failure-threshold", action: "rollout.rollback" })],
      crashedHeartbeats: [
        create(ReceivedHeartbeatSchema, { heartbeat: { errors: [{ code: "SIGSEGV", fatal: true }] } }),
      ],
    },
    bricking: {
      rollout: create(RolloutSchema, { ...badRollout(), state: RolloutState.ROLLING_BACK }),
      updates: [update(DeviceUpdateState.ROLLED_BACK, UpdateAction.INSTALL, "1.3.0")],
      audit: [
        create(AuditEventSchema, {
          actor: "system:failure-threshold",
          action: "rollout.rollback",
          reason: "ring canary: of 1 device that began, 1 is missing",
        }),
      ],
    },
  };
}

describe("checkStory", () => {
  it("finds every claim true when the story came out right", () => {
    expect(checkStory(truth()).filter(({ ok }) => !ok)).toEqual([]);
  });

  const lies: [what: string, spoil: (evidence: Evidence) => Evidence][] = [
    [
      "a device is still on the old version",
      (e) => ({ ...e, good: { ...e.good, overview: overview(4, { "1.1.0": 3, "1.0.0": 1 }) } }),
    ],
    ["an update was never proven", (e) => ({ ...e, good: { ...e.good, updates: e.good.updates.slice(1) } })],
    [
      "a ring opened too early",
      (e) => {
        const rollout = goodRollout();
        if (rollout.rings[1] !== undefined) rollout.rings[1].openTime = at(1);
        return { ...e, good: { ...e.good, rollout } };
      },
    ],
    [
      "the good rollout still runs",
      (e) => {
        const rollout = goodRollout();
        rollout.state = RolloutState.RUNNING;
        return { ...e, good: { ...e.good, rollout } };
      },
    ],
    [
      "the bad version went past the canary",
      (e) => {
        const rollout = badRollout();
        if (rollout.rings[1] !== undefined) rollout.rings[1].state = RingState.OPEN;
        return { ...e, bad: { ...e.bad, rollout } };
      },
    ],
    [
      "an operator rolled it back",
      (e) => ({
        ...e,
        bad: {
          ...e.bad,
          audit: [create(AuditEventSchema, { actor: "operator:admin", action: "rollout.rollback" })],
        },
      }),
    ],
    [
      "a device could not be rolled back",
      (e) => ({
        ...e,
        bad: {
          ...e.bad,
          updates: [...e.bad.updates, update(DeviceUpdateState.FAILED, UpdateAction.ROLLBACK, "1.1.0")],
        },
      }),
    ],
    ["nobody was rolled back", (e) => ({ ...e, bad: { ...e.bad, updates: e.bad.updates.slice(0, 1) } })],
    [
      "a device still runs the bad version",
      (e) => ({ ...e, bad: { ...e.bad, overview: overview(4, { "1.1.0": 3, "1.2.0": 1 }) } }),
    ],
    [
      "the bricking version went past the canary",
      (e) => {
        const rollout = badRollout();
        if (rollout.rings[1] !== undefined) rollout.rings[1].state = RingState.OPEN;
        return { ...e, bricking: { ...e.bricking, rollout } };
      },
    ],
    [
      "a bricked device said that it failed",
      (e) => ({
        ...e,
        bricking: {
          ...e.bricking,
          updates: [update(DeviceUpdateState.FAILED, UpdateAction.INSTALL, "1.3.0")],
        },
      }),
    ],
    [
      "it was not silence that stopped the bricking version",
      (e) => ({ ...e, bricking: { ...e.bricking, audit: e.bad.audit } }),
    ],
    [
      "half of the fleet is bricked",
      (e) => ({ ...e, bricking: { ...e.bricking, updates: [0, 1].flatMap(() => e.bricking.updates) } }),
    ],
    ["the crash left no trace", (e) => ({ ...e, bad: { ...e.bad, crashedHeartbeats: [] } })],
  ];

  it.each(lies)("does not hold if %s", (_what, spoil) => {
    expect(checkStory(spoil(truth())).some(({ ok }) => !ok)).toBe(true);
  });
});
