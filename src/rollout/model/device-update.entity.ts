import { defineEntity, p } from "@mikro-orm/core";
import { DeviceEntity } from "../../device/state/device.entity.ts";
import { FirmwareUpdateEntity } from "../../firmware/firmware-update.entity.ts";
import { count, createdAt, instant, notDeleted, updatedAt } from "../../infra/database/columns.ts";
import { DeploymentRingEntity } from "./deployment-ring.entity.ts";
import { type Metadata, RolloutEntity } from "./rollout.entity.ts";

/** See the contract's UpdateAction. */
export type UpdateAction = "INSTALL" | "ROLLBACK" | "STEP";

/** See the contract's DeviceUpdateState. */
export type DeviceUpdateState =
  | "OFFERED"
  | "DOWNLOADING"
  | "DOWNLOADED"
  | "INSTALLING"
  | "REBOOTING"
  | "VERIFYING"
  | "SUCCEEDED"
  | "FAILED"
  | "TIMED_OUT"
  | "SUPERSEDED"
  | "CANCELLED"
  | "ROLLED_BACK";

/**
 * One try of one device at a rollout's firmware, at a mandatory step on the way to it, or at going back. There is no row
 * until the device is offered the update.
 *
 * A failed try that is followed by another one keeps its row, with `retryAt` set, and the next try gets a row of its own,
 * so that a state that is final stays so and what a device reports late of an earlier try cannot hit a later one. Counters
 * follow the rows by triggers: see `rollout-counters.ts`.
 */
export const DeviceUpdateEntity = defineEntity({
  name: "DeviceUpdate",
  tableName: "device_updates",
  properties: {
    deviceId: p.manyToOne(DeviceEntity).mapToPk().joinColumn("device_id").primary(),
    id: p.uuid().primary(),
    // Of the rows that are referred to, those of the rollout's own have no foreign key: see decision 0001.
    rolloutId: p
      .manyToOne(RolloutEntity)
      .mapToPk()
      .joinColumn("rollout_id")
      .createForeignKeyConstraint(false),
    ringId: p
      .manyToOne(DeploymentRingEntity)
      .mapToPk()
      .joinColumn("ring_id")
      .createForeignKeyConstraint(false),
    firmwareId: p.manyToOne(FirmwareUpdateEntity).mapToPk().joinColumn("firmware_id"),
    action: p.text().$type<UpdateAction>(),
    state: p.text().$type<DeviceUpdateState>(),
    fromVersion: p.text(),
    /** The firmware that the device came from, if the catalogue has it. */
    fromFirmwareId: p
      .manyToOne(FirmwareUpdateEntity)
      .mapToPk()
      .joinColumn("from_firmware_id")
      .createForeignKeyConstraint(false)
      .nullable(),
    toVersion: p.text(),
    /** The boot before the update: another boot id proves that the device restarted. */
    fromBootId: p.text().default(""),
    failureReason: p.text().strictNullable(),
    failureMessage: p.text().strictNullable(),
    downloadedBytes: count().default(0),
    crashCount: p.integer().default(0),
    /** Which try this is, from 1. */
    attempt: p.integer().default(1),
    /** Of an open try: the device is not given it before. */
    notBefore: instant().nullable(),
    /** Of a failed try that another one follows: from when on. */
    retryAt: instant().nullable(),
    offeredAt: instant(),
    installingAt: instant().strictNullable(),
    /** When a heartbeat first showed the new version. */
    provenAt: instant().strictNullable(),
    /** Until when the new version must stay healthy. */
    verifyUntil: instant().strictNullable(),
    deadlineAt: instant().strictNullable(),
    /** Of one that began to install: since when its device is missing, or was when it ended. */
    missingSince: instant().nullable(),
    /** Null while the update is open; a device has at most one open update. */
    endedAt: instant().strictNullable(),
    /** With which the device was enrolled when it was offered the update; null without one. */
    enrolmentKeyId: p.uuid().nullable(),
    /** Of a try that has to be rolled back once the device's update of another component is over: until when it waits. */
    takeBackBy: instant().nullable(),
    /** Of one that succeeded: since when its device runs an older version again, though nobody rolled it back. */
    driftedAt: instant().nullable(),
    /** The version that it runs then. */
    driftedTo: p.text().nullable(),
    /** Of a rollback that timed out: when its device was heard again. */
    heardAt: instant().nullable(),
    /** Null without keys: most updates have none, and an offer costs no more for them. */
    metadata: p.json<Metadata>().nullable(),
    /** As its rollout is, some seconds after it: see `ArchivedUpdates`. */
    isDeleted: p.boolean().default(false),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  filters: notDeleted,
  indexes: [
    { name: "device_updates_deadline_at_index", properties: ["deadlineAt"], where: "ended_at is null" },
    { name: "device_updates_updated_at_index", properties: ["updatedAt"], where: "ended_at is null" },
    {
      name: "device_updates_waiting_tries",
      properties: ["rolloutId"],
      where: "not_before is not null and ended_at is null",
    },
    { name: "device_updates_rollout_id_id_index", properties: ["rolloutId", "id"] },
    {
      name: "device_updates_take_back_by_index",
      properties: ["rolloutId", "takeBackBy"],
      where: "take_back_by is not null",
    },
    {
      name: "device_updates_drifted_index",
      properties: ["rolloutId", "id"],
      where: "drifted_at is not null",
    },
    {
      name: "device_updates_away_index",
      properties: ["rolloutId", "id"],
      where: "action = 'ROLLBACK' and state = 'TIMED_OUT' and retry_at is null and heard_at is null",
    },
    {
      name: "device_updates_target_missing_index",
      properties: ["rolloutId", "toVersion"],
      where: "failure_reason = 'ROLLBACK_TARGET_MISSING' and retry_at is null",
    },
  ],
  uniques: [
    { name: "device_updates_open_unique", properties: ["deviceId"], where: "ended_at is null" },
    {
      name: "device_updates_try_unique",
      properties: ["deviceId", "rolloutId", "action", "firmwareId", "attempt"],
    },
  ],
});
