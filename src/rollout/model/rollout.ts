import type { UpdateKind } from "../../firmware/firmware-update.entity.ts";
import type { RingState, StoredGate } from "./deployment-ring.entity.ts";
import type {
  Metadata,
  RolloutState,
  StoredPolicy,
  StoredRollbackPlan,
  StoredTargeting,
} from "./rollout.entity.ts";
import type { Counts, keyCounters, RingCounters, rollbackCounters } from "./rollout-counters.ts";
import { isFinalRollout } from "./rollout-state.ts";

/** A rollout as the service knows it. */
export interface Rollout {
  readonly id: string;
  /** What is hashed with a device's id to tell its ring; the rollout's own id unless it was created with another. */
  readonly salt: string;
  readonly name: string;
  readonly firmwareId: string;
  /** Of the firmware. */
  readonly product: string;
  /** Of the firmware. */
  readonly version: string;
  /** Of the firmware. */
  readonly kind: UpdateKind;
  /** Of the firmware; empty unless it is an application. */
  readonly component: string;
  /** As the audit log names callers. */
  readonly creator: string;
  /** What needs a person, in words; empty if all is well. */
  readonly alert: string;
  /** Whether the stored content of what it brings is known to be damaged or missing: nobody is offered it until that is mended. */
  readonly contentDamaged: boolean;
  /** Versions that devices are to be rolled back to and that the catalogue has no released firmware of; at most 20. */
  readonly missingVersions: readonly string[];
  readonly state: RolloutState;
  readonly stateReason: string;
  readonly targeting: Readonly<StoredTargeting>;
  readonly policy: Readonly<StoredPolicy>;
  /** In order. */
  readonly rings: readonly Ring[];
  readonly rollback: RollbackCounts;
  /** Set while devices are still to be told to go back. */
  readonly rollbackPlan: Readonly<StoredRollbackPlan> | undefined;
  readonly metadata: Metadata;
  /**
   * The recalled version that it leads devices away from; undefined for all but such ways out. A way out goes before all others, is
   * never complete, takes nothing back, and offers a device the replacement as often as it comes back on the version.
   */
  readonly recalledVersion: string | undefined;
  /** Undefined unless it is archived. */
  readonly archivedAt: Date | undefined;
  /** Rises with each transition: the compare-and-set value. */
  readonly revision: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly startedAt: Date | undefined;
  readonly endedAt: Date | undefined;
}

/** A ring with its counters. */
export interface Ring {
  readonly id: string;
  readonly position: number;
  readonly name: string;
  /** Where it ends, of 10,000, with two decimals. 0 while a ring of so many devices has not been sized. */
  readonly percentBasisPoints: number;
  /** Where it was asked to end, if it has been widened since. */
  readonly askedBasisPoints: number | undefined;
  /** How many devices it was asked to hold with those before it; undefined if it was asked for a share. */
  readonly deviceTarget: number | undefined;
  readonly state: RingState;
  readonly gate: Readonly<StoredGate>;
  readonly counters: RingCounters;
  /** As of when it was last counted; undefined if that is still to be done. */
  readonly census: (RingCensusCounts & { readonly countedAt: Date }) | undefined;
  readonly openedAt: Date | undefined;
  /** Since when the gate has held without a break. */
  readonly gateHeldSince: Date | undefined;
  readonly passedAt: Date | undefined;
  /** Who approved that it opens; empty if nobody has. */
  readonly approver: string;
  readonly approvedAt: Date | undefined;
  readonly metadata: Metadata;
  /** Its devices by enrolment key, those keys first that have the most; not all, and none without a key. */
  readonly keys: readonly KeyCounters[];
}

/** Whether a ring that is to hold so many devices still has to be given its end. */
export function isUnsized({
  deviceTarget,
  percentBasisPoints,
}: Pick<Ring, "deviceTarget" | "percentBasisPoints">): boolean {
  return deviceTarget !== undefined && percentBasisPoints === 0;
}

/** How many devices a ring holds, of those that the rollout targets. */
export interface RingCensusCounts {
  readonly devices: number;
  /** Those that had the update or may still ask for it: not up to date, excluded or otherwise never to be offered it. */
  readonly eligible: number;
  /** Those of them that have not been offered it: the sum of the three that follow. */
  readonly awaited: number;
  /** Heard of lately, and no rule holds them back. */
  readonly reachable: number;
  /** Heard of lately, but a rule holds them back now. */
  readonly heldBack: number;
  /** Offline, or never heard of. */
  readonly gone: number;
}

/** The same for the devices that were enrolled with one key. */
export interface KeyCounters extends Counts<typeof keyCounters> {
  readonly keyId: string;
}

/** How rolling back goes. */
interface RollbackCounts extends Counts<typeof rollbackCounters> {
  /** Devices that will be told when their update of another component is over. */
  readonly waiting: number;
}

/** The open ring that promotion leaves next: the last that was opened; undefined before the start. */
export function frontRing(rings: readonly Ring[]): Ring | undefined {
  return rings.findLast((ring) => ring.state !== "WAITING");
}

/** Whether nobody is in any of its rings, and nobody was. A fleet that is up to date is somebody. */
export function isForNobody({ rings }: Pick<Rollout, "rings">): boolean {
  return rings.every(({ census, counters }) => census?.devices === 0 && counters.offered === 0);
}

/** The ring that opens next, if somebody has to approve that first and nobody has. */
export function awaitedApproval({ state, rings }: Pick<Rollout, "state" | "rings">): Ring | undefined {
  if (state === "DRAFT" || isFinalRollout(state) || state === "ROLLING_BACK" || state === "COMPLETED")
    return undefined;
  const next = rings.find((ring) => ring.state === "WAITING");
  return next === undefined || isApproved(next) ? undefined : next;
}

/** Which rollout goes first for a device: the higher one. */
export function rankOf({ recalledVersion, policy }: Pick<Rollout, "recalledVersion" | "policy">): number {
  return recalledVersion === undefined ? policy.priority : Number.MAX_SAFE_INTEGER;
}

/** Whether nothing is left to be approved before the ring opens. */
export function isApproved({ gate, approver }: Pick<Ring, "gate" | "approver">): boolean {
  return !gate.requireApproval || approver !== "";
}
