import type { RingState, StoredGate } from "./deployment-ring.entity.ts";
import type { RolloutState, StoredPolicy, StoredTargeting } from "./rollout.entity.ts";

/** A rollout as the service knows it. */
export interface Rollout {
  readonly id: string;
  readonly name: string;
  readonly firmwareId: string;
  /** Of the firmware. */
  readonly product: string;
  /** Of the firmware. */
  readonly version: string;
  readonly state: RolloutState;
  readonly stateReason: string;
  readonly targeting: Readonly<StoredTargeting>;
  readonly policy: Readonly<StoredPolicy>;
  /** In order. */
  readonly rings: readonly Ring[];
  readonly rollback: RollbackCounts;
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
  readonly percentBasisPoints: number;
  readonly state: RingState;
  readonly gate: Readonly<StoredGate>;
  readonly counters: RingCounters;
  readonly openedAt: Date | undefined;
  /** Since when the gate has held without a break. */
  readonly gateHeldSince: Date | undefined;
  readonly passedAt: Date | undefined;
}

/**
 * The updates (not rollbacks) of a ring's devices by their state. `offered` is the sum of the others: every update is in
 * progress or ended in one way.
 */
export interface RingCounters {
  readonly offered: number;
  /** OFFERED to VERIFYING. */
  readonly inProgress: number;
  readonly succeeded: number;
  /** FAILED and TIMED_OUT. */
  readonly failed: number;
  /** CANCELLED and SUPERSEDED. */
  readonly cancelled: number;
  readonly rolledBack: number;
}

/** How taking back goes; what is neither completed nor failed is in progress. */
interface RollbackCounts {
  readonly total: number;
  readonly completed: number;
  readonly failed: number;
}

/** The open ring that promotion leaves next: the last that was opened; undefined before the start. */
export function frontRing(rings: readonly Ring[]): Ring | undefined {
  return rings.findLast((ring) => ring.state !== "WAITING");
}
