import { defineEntity, p } from "@mikro-orm/core";
import { count, createdAt, instant, notDeleted, updatedAt } from "../../infra/database/columns.ts";
import type { Filled } from "../../policy/field.ts";
import type { gateFields } from "../../policy/gate-fields.ts";
import { type Metadata, RolloutEntity } from "./rollout.entity.ts";
import { countProperties, ringCounters } from "./rollout-counters.ts";

/** See the contract's RingState. */
export type RingState = "WAITING" | "OPEN" | "PASSED" | "FAILED";

/** What must hold before the next ring opens, as stored. */
export interface StoredGate extends Filled<typeof gateFields> {
  /** Failed and missing devices that an operator accepted by resuming the rollout in spite of them. */
  acceptedFailures?: number;
  /** Whether "worse" health was acted upon by a pause: it does not pause the rollout again. */
  acceptedWorse?: boolean;
}

/** A ring of a rollout. Its counters change in the transaction that changes a device's state. */
export const DeploymentRingEntity = defineEntity({
  name: "DeploymentRing",
  tableName: "deployment_rings",
  properties: {
    id: p.uuid().primary(),
    rolloutId: p.manyToOne(RolloutEntity).mapToPk().joinColumn("rollout_id"),
    /** 0 is the first ring. */
    position: p.smallint(),
    name: p.text(),
    /** Share of the targeted devices that are in once the ring is open, of 10,000, earlier rings included. */
    percentBasisPoints: p.double(),
    /** The share that it was asked for, if it has been widened since. */
    askedBasisPoints: p.double().nullable(),
    /** How many devices it was asked to hold with those before it; null if it was asked for a share. */
    deviceTarget: p.integer().nullable(),
    state: p.text().$type<RingState>(),
    gate: p.json<StoredGate>(),
    ...countProperties(ringCounters),
    /** Of those whom the rollout targets: how many are in the ring. Null until they were counted, as those that follow. */
    deviceCount: count().nullable(),
    /** Of them, those that had the update or may still ask for it. */
    eligibleCount: count().nullable(),
    /** Of them, those that have not been offered it. */
    awaitedCount: count().nullable(),
    /** Of these, those that were heard of lately and that no rule holds back. */
    reachableCount: count().nullable(),
    /** Of these, those that were heard of lately and that a rule holds back. */
    heldBackCount: count().nullable(),
    /** Of these, those that are offline or were never heard of. */
    goneCount: count().nullable(),
    countedAt: instant().nullable(),
    openedAt: instant().strictNullable(),
    /** Since when the gate has held without a break; the soak time runs from here. */
    gateHeldSince: instant().strictNullable(),
    passedAt: instant().strictNullable(),
    /** Who approved that it opens, as the audit log names callers. */
    approver: p.text().default(""),
    approvedAt: instant().nullable(),
    metadata: p.json<Metadata>().defaultRaw("'{}'"),
    /** As its rollout is. */
    isDeleted: p.boolean().default(false),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  filters: notDeleted,
  uniques: [
    { name: "deployment_rings_rollout_id_position_unique", properties: ["rolloutId", "position"] },
    { name: "deployment_rings_rollout_id_name_unique", properties: ["rolloutId", "name"] },
  ],
});
