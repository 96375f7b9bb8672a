import { defineEntity, p } from "@mikro-orm/core";
import { DeviceEntity } from "../device/device.entity.ts";
import { FirmwareUpdateEntity } from "../firmware/firmware-update.entity.ts";
import { count, createdAt, instant, notDeleted, updatedAt } from "../infra/database/columns.ts";
import { DeploymentRingEntity } from "./deployment-ring.entity.ts";
import { RolloutEntity } from "./rollout.entity.ts";

/** See the contract's UpdateAction. */
export type UpdateAction = "INSTALL" | "ROLLBACK";

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

/** One device's part in a rollout. There is no row until the device is offered the update. */
export const DeviceUpdateEntity = defineEntity({
  name: "DeviceUpdate",
  tableName: "device_updates",
  properties: {
    deviceId: p.manyToOne(DeviceEntity).mapToPk().joinColumn("device_id").primary(),
    id: p.uuid().primary(),
    rolloutId: p.manyToOne(RolloutEntity).mapToPk().joinColumn("rollout_id"),
    ringId: p.manyToOne(DeploymentRingEntity).mapToPk().joinColumn("ring_id"),
    firmwareId: p.manyToOne(FirmwareUpdateEntity).mapToPk().joinColumn("firmware_id"),
    action: p.text().$type<UpdateAction>(),
    state: p.text().$type<DeviceUpdateState>(),
    fromVersion: p.text(),
    /** The firmware that the device came from, if the catalogue has it. */
    fromFirmwareId: p.manyToOne(FirmwareUpdateEntity).mapToPk().joinColumn("from_firmware_id").nullable(),
    toVersion: p.text(),
    /** The boot before the update: another boot id proves that the device restarted. */
    fromBootId: p.text().default(""),
    failureReason: p.text().strictNullable(),
    failureMessage: p.text().strictNullable(),
    downloadedBytes: count().default(0),
    crashCount: p.integer().default(0),
    offeredAt: instant(),
    installingAt: instant().strictNullable(),
    /** When a heartbeat first showed the new version. */
    provenAt: instant().strictNullable(),
    /** Until when the new version must stay healthy. */
    verifyUntil: instant().strictNullable(),
    deadlineAt: instant().strictNullable(),
    /** Null while the update is open; a device has at most one open update. */
    endedAt: instant().strictNullable(),
    isDeleted: p.boolean().default(false),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  filters: notDeleted,
  indexes: [
    { name: "device_updates_deadline_at_index", properties: ["deadlineAt"], where: "ended_at is null" },
    { name: "device_updates_updated_at_index", properties: ["updatedAt"], where: "ended_at is null" },
    { name: "device_updates_rollout_id_id_index", properties: ["rolloutId", "id"] },
  ],
  uniques: [
    { name: "device_updates_open_unique", properties: ["deviceId"], where: "ended_at is null" },
    {
      name: "device_updates_device_id_rollout_id_action_unique",
      properties: ["deviceId", "rolloutId", "action"],
    },
  ],
});
