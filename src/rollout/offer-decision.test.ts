import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Firmware } from "../firmware/firmware.ts";
import { bucketOf } from "./bucket.ts";
import { byPreference, compileRollout, versionVerdict } from "./compiled-rollout.ts";
import type { RingState } from "./deployment-ring.entity.ts";
import { type CheckedDevice, decideOffer, type OfferFacts } from "./offer-decision.ts";
import type { RolloutState } from "./rollout.entity.ts";
import type { Rollout } from "./rollout.ts";

const firmware: Firmware = {
  id: "firmware",
  product: "os",
  version: "1.2.0",
  state: "RELEASED",
  deviceTypes: ["thermostat", "valve"],
  hardwareModels: [],
  minBatteryPercent: 30,
  minFreeStorageBytes: 1_000,
  minCurrentVersion: "1.0.0",
  releaseNotes: "",
  metadata: {},
  sha256: "",
  sizeBytes: 1,
  securityCounter: 2,
  securityFix: false,
  manifest: undefined,
  signatures: [],
  expiresAt: undefined,
  createdAt: new Date(0),
  updatedAt: new Date(0),
  releasedAt: new Date(0),
  deletedAt: undefined,
};

const device: CheckedDevice = {
  id: "device",
  deviceType: "thermostat",
  hardwareModel: "t100",
  groups: ["lab"],
  firmwareVersion: "1.1.0",
  bootId: "a",
  securityCounter: 2,
  batteryPercent: 80,
  charging: false,
  storageFreeBytes: 10_000,
};

const nothingKnown: OfferFacts = { wasTried: () => false, inProgress: () => 0 };

interface Wish {
  id?: string;
  state?: RolloutState;
  rings?: [number, RingState][];
  targeting?: Partial<Rollout["targeting"]>;
  firmware?: Partial<Firmware>;
  maxInProgress?: number;
  blocked?: string;
}

function compiled(wish: Wish = {}) {
  const rings = (wish.rings ?? [[10_000, "OPEN"]]).map(([percentBasisPoints, state], position) => ({
    id: `ring-${position}`,
    position,
    name: `ring-${position}`,
    percentBasisPoints,
    state,
    gate: { minSample: 1, minSuccessPercent: 90, soakMs: 0, manual: false },
    counters: { offered: 0, inProgress: 0, succeeded: 0, failed: 0, cancelled: 0, rolledBack: 0 },
    openedAt: undefined,
    gateHeldSince: undefined,
    passedAt: undefined,
  }));
  const brought = { ...firmware, ...wish.firmware };
  const rollout: Rollout = {
    id: wish.id ?? "rollout",
    name: "r",
    firmwareId: brought.id,
    product: brought.product,
    version: brought.version,
    state: wish.state ?? "RUNNING",
    stateReason: "",
    targeting: {
      deviceTypes: [],
      hardwareModels: [],
      groups: [],
      currentVersionRange: "",
      ...wish.targeting,
    },
    policy: {
      failureThresholdPercent: 10,
      failureMinSample: 5,
      failureCountLimit: null,
      verificationMs: 0,
      deviceTimeoutMs: 1,
      crashLimit: 3,
      maxInProgress: wish.maxInProgress ?? null,
      pauseOnFailure: false,
    },
    rings,
    rollback: { total: 0, completed: 0, failed: 0 },
    revision: 1,
    createdAt: new Date(0),
    updatedAt: new Date(0),
    startedAt: undefined,
    endedAt: undefined,
  };
  return compileRollout(rollout, brought, wish.blocked);
}

function outcome(wish: Wish, other: Partial<CheckedDevice> = {}, facts = nothingKnown): string {
  const decision = decideOffer({ ...device, ...other }, [compiled(wish)], facts);
  return decision.kind === "offer" ? "OFFER" : decision.reason;
}

describe("one rollout", () => {
  it.each([
    ["fits", {}, {}, "OFFER"],
    ["completed: still offers", { state: "COMPLETED" }, {}, "OFFER"],
    ["paused", { state: "PAUSED" }, {}, "ROLLOUT_PAUSED"],
    ["its key was revoked", { blocked: "revoked" }, {}, "ROLLOUT_PAUSED"],
    ["same version", {}, { firmwareVersion: "1.2.0" }, "UP_TO_DATE"],
    ["never a downgrade", {}, { firmwareVersion: "1.10.0" }, "UP_TO_DATE"],
    ["a pre-release of it is older", {}, { firmwareVersion: "1.2.0-rc.1" }, "OFFER"],
    ["no semantic version", { firmware: { minCurrentVersion: "" } }, { firmwareVersion: "factory" }, "OFFER"],
    ["no semantic version, but a minimum", {}, { firmwareVersion: "factory" }, "VERSION_TOO_OLD"],
    ["version too old", {}, { firmwareVersion: "0.9.0" }, "VERSION_TOO_OLD"],
    ["in the version range", { targeting: { currentVersionRange: ">=1.1.0 <1.2.0" } }, {}, "OFFER"],
    ["out of the version range", { targeting: { currentVersionRange: "<1.1.0" } }, {}, "UP_TO_DATE"],
    ["another type", {}, { deviceType: "gateway" }, "UP_TO_DATE"],
    ["a type left out", { targeting: { deviceTypes: ["valve"] } }, {}, "UP_TO_DATE"],
    ["a model of the firmware", { firmware: { hardwareModels: ["t100"] } }, {}, "OFFER"],
    ["another model", { firmware: { hardwareModels: ["t200"] } }, {}, "UP_TO_DATE"],
    ["a model left out", { targeting: { hardwareModels: ["t200"] } }, {}, "UP_TO_DATE"],
    ["in the group", { targeting: { groups: ["field", "lab"] } }, {}, "OFFER"],
    ["not in the group", { targeting: { groups: ["field"] } }, {}, "UP_TO_DATE"],
    ["ring not open", { rings: [[10_000, "WAITING"]] }, {}, "RING_NOT_OPEN"],
    ["beyond the last ring", { rings: [[1, "OPEN"]] }, {}, "RING_NOT_OPEN"],
    ["ring passed: late devices get it", { rings: [[10_000, "PASSED"]] }, {}, "OFFER"],
    ["charge too low", {}, { batteryPercent: 29 }, "BATTERY_TOO_LOW"],
    ["charge too low, but on power", {}, { batteryPercent: 5, charging: true }, "OFFER"],
    ["charge unknown", {}, { batteryPercent: undefined, charging: undefined }, "OFFER"],
    ["storage too low", {}, { storageFreeBytes: 999 }, "STORAGE_TOO_LOW"],
    ["security counter above", {}, { securityCounter: 3 }, "SECURITY_COUNTER"],
  ] as const)("%s", (_, wish, other, expected) => {
    expect(outcome(wish as Wish, other)).toBe(expected);
  });

  it("is not offered twice, nor to more devices at once than may", () => {
    expect(outcome({}, {}, { ...nothingKnown, wasTried: () => true })).toBe("ALREADY_TRIED");
    const busy = { ...nothingKnown, inProgress: () => 5 };
    expect(outcome({ maxInProgress: 5 }, {}, busy)).toBe("TOO_MANY_IN_PROGRESS");
    expect(outcome({ maxInProgress: 6 }, {}, busy)).toBe("OFFER");
  });

  it("says why in words with the numbers", () => {
    expect(decideOffer({ ...device, batteryPercent: 12 }, [compiled()], nothingKnown)).toMatchObject({
      message: "the charge is 12 %, 30 % or external power is needed",
    });
  });
});

describe("several rollouts", () => {
  const older = compiled({ id: "older", firmware: { version: "1.2.0" } });
  const newer = (wish: Wish = {}) =>
    compiled({ id: "newer", ...wish, firmware: { version: "1.3.0", ...wish.firmware } });
  const chosen = (rollouts: ReturnType<typeof compiled>[]) => {
    const decision = decideOffer(device, rollouts.sort(byPreference), nothingKnown);
    return decision.kind === "offer" ? decision.rollout.id : decision.reason;
  };

  it("offers the newest version", () => {
    expect(chosen([older, newer()])).toBe("newer");
  });

  it("offers the older one while the newer is not open to the device", () => {
    expect(chosen([older, newer({ rings: [[10_000, "WAITING"]] })])).toBe("older");
  });

  it("offers the older one as a step to the newer", () => {
    expect(chosen([older, newer({ firmware: { minCurrentVersion: "1.2.0" } })])).toBe("older");
  });

  it("waits for the newer one rather than install twice", () => {
    expect(chosen([older, newer({ firmware: { minBatteryPercent: 90 } })])).toBe("BATTERY_TOO_LOW");
  });
});

describe("whatever a device reports", () => {
  it("it is never offered the same or an older version, and its ring decides", () => {
    const rings: [number, RingState][] = [
      [2_500, "OPEN"],
      [10_000, "WAITING"],
    ];
    const rollout = compiled({ rings, firmware: { minCurrentVersion: "" } });
    const part = fc.nat(3);
    fc.assert(
      fc.property(fc.uuid(), part, part, part, (id, major, minor, patch) => {
        const firmwareVersion = `${major}.${minor}.${patch}`;
        const { kind } = decideOffer({ ...device, id, firmwareVersion }, [rollout], nothingKnown);
        const isOlder = major < 1 || (major === 1 && minor < 2);
        expect(kind === "offer").toBe(isOlder && bucketOf(rollout.id, id) < 2_500);
      }),
    );
  });

  it("keeps few versions in memory", () => {
    const rollout = compiled();
    for (let at = 0; at < 10_000; at++) versionVerdict(rollout, `0.0.${at}`);
    expect(rollout.verdicts.size).toBeLessThanOrEqual(256);
  });
});
