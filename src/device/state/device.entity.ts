import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import {
  count,
  createdAt,
  entityNamed,
  instant,
  notDeleted,
  updatedAt,
} from "../../infra/database/columns.ts";
import type { UpdatePin } from "./filterable-device.ts";

/** What a device says of itself when it enrols and connects. */
export interface ReportedFacts {
  /** The version that it ran when it enrolled. */
  firmwareVersion?: string;
  agentVersion?: string;
  capabilities?: readonly string[];
  clockQuality?: string;
  /** How often it sends a heartbeat by itself, in milliseconds. */
  intervalMs?: number | undefined;
}

/** A registered device: what changes rarely. What every heartbeat changes is in device_state. */
export const DeviceEntity = defineEntity({
  name: "Device",
  tableName: "devices",
  properties: {
    id: p.uuid().primary(),
    serialNumber: p.text(),
    deviceType: p.text(),
    hardwareModel: p.text(),
    /** The product that it runs, as it or an operator said; empty if nobody did. */
    product: p.text().default(""),
    displayName: p.text().default(""),
    groups: p.array().columnType("text[]").defaultRaw("'{}'"),
    metadata: p.json<Record<string, string>>().defaultRaw("'{}'"),
    enrolmentKeyId: p
      .manyToOne(entityNamed("EnrolmentKey"))
      .mapToPk()
      .joinColumn("enrolment_key_id")
      .nullable(),
    /** The request id of its latest enrolment, so that a retried one is answered alike. */
    enrolRequestId: p.uuid().strictNullable(),
    /** When, from which address and with which content that came; null of one that an operator registered. */
    enrolledAt: instant().strictNullable(),
    enrolSource: p.text().strictNullable(),
    enrolDigest: p.blob().strictNullable(),
    /** Until when an operator lets the serial number enrol once more; null: not at all. */
    enrolUntil: instant().strictNullable(),
    /**
     * Since when certificates that name it count, after a reset; null: all of them. An older one counts if it has this digest:
     * with it the device enrolled again.
     */
    certificatesSince: instant().strictNullable(),
    certificateSha256: p.blob().strictNullable(),
    /** Since when it is in quarantine, and since when it is blocked; see `Standing`. */
    quarantinedAt: instant().strictNullable(),
    blockedAt: instant().strictNullable(),
    /** Since when another machine is suspected to run under its identity; null if none is. */
    cloneSuspectedAt: instant().strictNullable(),
    /** Since when an operator wants it to exchange its token; null if none does, or once it used a newer one. */
    tokenRotationRequestedAt: instant().nullable(),
    /** Since when another board is under this serial number; null for the first. */
    boardSince: instant().nullable(),
    tags: p.array().columnType("text[]").defaultRaw("'{}'"),
    updatePin: p.text().$type<UpdatePin>().default("none"),
    /** How often an operator expects a sign of life of it, in milliseconds; null if nobody said so of this device. */
    expectedIntervalMs: count().strictNullable(),
    reported: p.json<ReportedFacts>().defaultRaw("'{}'"),
    isDeleted: p.boolean().default(false),
    deletedAt: instant().strictNullable(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  filters: notDeleted,
  indexes: [
    { name: "devices_device_type_index", properties: ["deviceType", "id"], where: "not is_deleted" },
    { name: "devices_groups_index", properties: ["groups"], type: "gin" },
    { name: "devices_tags_index", properties: ["tags"], type: "gin" },
    {
      name: "devices_serial_number_order_index",
      properties: ["serialNumber", "id"],
      expression: 'create index devices_serial_number_order_index on devices (serial_number collate "C", id)',
    },
    { name: "devices_enrolment_key_id_index", properties: ["enrolmentKeyId"] },
    {
      name: "devices_clone_suspected_at_index",
      properties: ["cloneSuspectedAt", "id"],
      where: "clone_suspected_at is not null",
    },
  ],
  uniques: [{ name: "devices_serial_number_unique", properties: ["serialNumber"], where: "not is_deleted" }],
});

/** A row of devices. */
export type DeviceRow = InferEntity<typeof DeviceEntity>;
