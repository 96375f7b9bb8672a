import { nothingHeld } from "../../src/device/state/held-readings.ts";
import type { Firmware, FirmwareFields } from "../../src/firmware/firmware.ts";
import type { RingState } from "../../src/rollout/model/deployment-ring.entity.ts";
import { everyDevice, planPolicy, planRings } from "../../src/rollout/model/new-rollout.ts";
import type { RolloutState, StoredPolicy } from "../../src/rollout/model/rollout.entity.ts";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
import { noCounts, ringCounters } from "../../src/rollout/model/rollout-counters.ts";
import {
  type CompiledRollout,
  compileRollout,
  type OfferFirmware,
} from "../../src/rollout/rules/compiled-rollout.ts";
import type { ProductBook } from "../../src/rollout/rules/product-book.ts";
import type { CheckedDevice, OfferFacts } from "../../src/rollout/rules/rule.ts";

/** A firmware of the tests, released. */
export const firmware: Firmware = {
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
  kind: "FIRMWARE",
  component: "",
  mandatoryStep: false,
  reportedVersions: [],
  manifest: undefined,
  attachments: [],
  signatures: [],
  expiresAt: undefined,
  createdAt: new Date(0),
  updatedAt: new Date(0),
  releasedAt: new Date(0),
  deletedAt: undefined,
  damagedAt: undefined,
};

/** A device that {@link firmware} fits. */
export const device: CheckedDevice = {
  ...nothingHeld,
  id: "device",
  serialNumber: "sn-1",
  deviceType: "thermostat",
  hardwareModel: "t100",
  expectedIntervalMs: undefined,
  product: "",
  displayName: "",
  groups: ["lab"],
  tags: [],
  metadata: {},
  updatePin: "none",
  standing: "admitted",
  cloneSuspectedAtMs: undefined,
  createdAtMs: 0,
  clockVerdict: undefined,
  faultTimes: {},
  firmwareVersion: "1.1.0",
  components: undefined,
  lastSeenAtMs: 0,
  batteryPercent: 80,
  charging: false,
  storageFreeBytes: 10_000,
  securityCounter: 2,
  bootId: "a",
  userConsent: undefined,
};

/** Monday, the 2nd of March 2026, 12:00 UTC. */
export const noonMs = Date.parse("2026-03-02T12:00:00Z");

/** Nothing was offered to anybody. */
export const nothingKnown: OfferFacts = {
  nowMs: () => noonMs,
  wasTried: () => false,
  inProgress: () => 0,
  pacedUntilMs: () => 0,
  openRollout: () => undefined,
};

/** A rollout as a test wants it. */
export interface Wish {
  id?: string;
  state?: RolloutState;
  rings?: [number, RingState][];
  targeting?: Partial<Rollout["targeting"]>;
  policy?: Partial<StoredPolicy>;
  firmware?: Partial<FirmwareFields>;
  steps?: OfferFirmware[];
  products?: ProductBook;
  blocked?: string;
  recalledVersion?: string;
}

/** A rollout of {@link firmware}, open to every device unless wished otherwise. */
export function compiled(wish: Wish = {}): CompiledRollout {
  const wanted = wish.rings ?? [[10_000, "OPEN"]];
  const planned = planRings(
    wanted.map(([basisPoints], position) => ({ name: `ring-${position}`, percent: basisPoints / 100 })),
  );
  const rings = planned.map((ring, position) => ({
    ...ring,
    id: ring.name,
    position,
    state: wanted[position]?.[1] ?? "OPEN",
    askedBasisPoints: undefined,
    counters: noCounts(ringCounters),
    census: undefined,
    openedAt: undefined,
    gateHeldSince: undefined,
    passedAt: undefined,
    approver: "",
    approvedAt: undefined,
    keys: [],
  }));
  const brought = { ...firmware, ...wish.firmware };
  const rollout: Rollout = {
    id: wish.id ?? "rollout",
    salt: wish.id ?? "rollout",
    name: "r",
    firmwareId: brought.id,
    product: brought.product,
    version: brought.version,
    kind: brought.kind,
    component: brought.component,
    creator: "operator:test",
    alert: "",
    missingVersions: [],
    state: wish.state ?? "RUNNING",
    stateReason: "",
    targeting: { ...everyDevice, ...wish.targeting },
    policy: {
      ...planPolicy({ pauseOnFailure: false }, { failureThresholdPercent: 10, deviceTimeoutMs: 1 }),
      maxInProgress: null,
      ...wish.policy,
    },
    rings,
    contentDamaged: false,
    rollback: { total: 0, completed: 0, failed: 0, blocked: 0, unreleased: 0, away: 0, waiting: 0 },
    rollbackPlan: undefined,
    metadata: {},
    recalledVersion: wish.recalledVersion,
    archivedAt: undefined,
    revision: 1,
    createdAt: new Date(0),
    updatedAt: new Date(0),
    startedAt: undefined,
    endedAt: undefined,
  };
  return compileRollout(
    rollout,
    { firmware: brought, blocked: wish.blocked },
    { heartbeatIntervalMs: 60_000, steps: wish.steps, products: wish.products },
  );
}

/** A mandatory step to a version. */
export function step(version: string, other: Partial<Firmware> = {}, blocked?: string): OfferFirmware {
  return {
    firmware: { ...firmware, id: `step-${version}`, version, mandatoryStep: true, ...other },
    blocked,
  };
}
