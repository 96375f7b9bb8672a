import { defineEntity, p } from "@mikro-orm/core";
import { FirmwareUpdateEntity } from "../../firmware/firmware-update.entity.ts";
import { RecallEntity } from "../../firmware/recall.entity.ts";
import { createdAt, instant, notDeleted, updatedAt } from "../../infra/database/columns.ts";
import type { Filled } from "../../policy/field.ts";
import type { policyFields } from "../../policy/policy-fields.ts";
import { countProperties, rollbackCounters } from "./rollout-counters.ts";

/** See the contract's RolloutState. */
export type RolloutState =
  | "DRAFT"
  | "AWAITING_APPROVAL"
  | "SCHEDULED"
  | "RUNNING"
  | "PAUSED"
  | "ROLLING_BACK"
  | "ROLLED_BACK"
  | "COMPLETED"
  | "ABORTED";

/** Which devices a rollout is for, as stored. An empty list or range leaves nothing out. */
export interface StoredTargeting {
  deviceTypes: string[];
  hardwareModels: string[];
  groups: string[];
  currentVersionRange: string;
  /** Only devices with at least one of these. */
  tags: string[];
  /** In the language of device filters; empty leaves nothing out. */
  filter: string;
  excludedGroups: string[];
  /** Devices in one of these are in the first ring. */
  canaryGroups: string[];
  /** The share of the devices that pass all other rules, of 10,000. */
  percentBasisPoints: number;
}

/** When a rollout fails and how devices prove it, as stored: defaults are filled in when it is created. */
export type StoredPolicy = Filled<typeof policyFields>;

/** A rollback that is being planned, device by device in the order of the updates' ids, as stored. */
export interface StoredRollbackPlan {
  /** Rings to roll back; null: all. */
  ringIds: string[] | null;
  /** The firmware to go back to; null: what each device came from. */
  firmwareId: string | null;
  /** The last update that was looked at; null before the first. */
  cursor: string | null;
  /** Set once all were looked at, while devices wait for their update of another component to end. */
  waiting?: true;
}

/** An integration's own keys with their values. */
export type Metadata = Readonly<Record<string, string>>;

/** One firmware on its way to the devices that it targets, ring by ring. */
export const RolloutEntity = defineEntity({
  name: "Rollout",
  tableName: "rollouts",
  properties: {
    id: p.uuid().primary(),
    /** What its rings are told by; null: its id. */
    salt: p.uuid().nullable(),
    name: p.text(),
    firmwareId: p.manyToOne(FirmwareUpdateEntity).mapToPk().joinColumn("firmware_id"),
    /** The recall whose way out it is; null for all others. */
    recallId: p.manyToOne(RecallEntity).mapToPk().joinColumn("recall_id").deleteRule("restrict").nullable(),
    state: p.text().$type<RolloutState>(),
    stateReason: p.text().default(""),
    targeting: p.json<StoredTargeting>(),
    policy: p.json<StoredPolicy>(),
    /** Compare-and-set: every transition names the version that it saw and adds one. */
    version: p.integer().default(1),
    /** Who made it, as the audit log names callers. */
    creator: p.text(),
    startedAt: instant().strictNullable(),
    endedAt: instant().strictNullable(),
    ...countProperties(rollbackCounters),
    /** Null unless devices are still to be told to go back. */
    rollbackPlan: p.json<StoredRollbackPlan>().nullable(),
    /** What needs a person, in words; empty if all is well. */
    alert: p.text().default(""),
    /** Versions that devices are to be rolled back to and that were not in the catalogue. */
    missingVersions: p.array().columnType("text[]").defaultRaw("'{}'"),
    /** When the minute began in which offers are counted; null before the first one with a limit. */
    paceBeganAt: instant().nullable(),
    /** Offers in that minute. */
    paceCount: p.integer().default(0),
    metadata: p.json<Metadata>().defaultRaw("'{}'"),
    /** Set while it is archived, as `is_deleted` is. */
    archivedAt: instant().nullable(),
    /** Of its device updates, those above this id may not be marked as deleted, or no more, as it is; null if all are. */
    unmarkedAfter: p.uuid().nullable(),
    isDeleted: p.boolean().default(false),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  filters: notDeleted,
  indexes: [
    { name: "rollouts_firmware_id_index", properties: ["firmwareId"] },
    {
      name: "rollouts_salt_unique",
      expression: "create unique index rollouts_salt_unique on rollouts (coalesce(salt, id))",
    },
  ],
});
