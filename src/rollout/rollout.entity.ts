import { defineEntity, p } from "@mikro-orm/core";
import { FirmwareUpdateEntity } from "../firmware/firmware-update.entity.ts";
import { count, createdAt, instant, notDeleted, updatedAt } from "../infra/database/columns.ts";

/** See the contract's RolloutState. */
export type RolloutState =
  | "DRAFT"
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
}

/** When a rollout fails and how devices prove it, as stored: defaults are filled in when it is created. */
export interface StoredPolicy {
  failureThresholdPercent: number;
  failureMinSample: number;
  failureCountLimit: number | null;
  verificationMs: number;
  deviceTimeoutMs: number;
  crashLimit: number;
  maxInProgress: number | null;
  pauseOnFailure: boolean;
}

/** One firmware on its way to the devices that it targets, ring by ring. */
export const RolloutEntity = defineEntity({
  name: "Rollout",
  tableName: "rollouts",
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    firmwareId: p.manyToOne(FirmwareUpdateEntity).mapToPk().joinColumn("firmware_id"),
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
    rollbackTotal: count().default(0),
    rollbackCompleted: count().default(0),
    rollbackFailed: count().default(0),
    isDeleted: p.boolean().default(false),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  filters: notDeleted,
  indexes: [{ name: "rollouts_firmware_id_index", properties: ["firmwareId"] }],
});
