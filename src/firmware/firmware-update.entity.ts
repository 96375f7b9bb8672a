import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import { count, createdAt, instant, notDeleted, updatedAt } from "../infra/database/columns.ts";

/** DRAFT: described, bytes missing. UPLOADED: bytes stored and checked. RELEASED: signed off, immutable. */
export type FirmwareState = "DRAFT" | "UPLOADED" | "RELEASED";

/** FIRMWARE: the device's firmware. APPLICATION: one application beside it. */
export type UpdateKind = "FIRMWARE" | "APPLICATION";

/** A firmware or application update in the catalogue. */
export const FirmwareUpdateEntity = defineEntity({
  name: "FirmwareUpdate",
  tableName: "firmware_updates",
  properties: {
    id: p.uuid().primary(),
    product: p.text(),
    /** Semantic version, without build metadata's meaning for order. */
    version: p.text(),
    /** Texts under which devices report it beside its version. */
    reportedVersions: p.array().columnType("text[]").defaultRaw("'{}'"),
    state: p.text().$type<FirmwareState>(),
    /** Empty: every device type. */
    deviceTypes: p.array().columnType("text[]").defaultRaw("'{}'"),
    /** Empty: every hardware model. */
    hardwareModels: p.array().columnType("text[]").defaultRaw("'{}'"),
    minBatteryPercent: p.integer().default(0),
    minFreeStorageBytes: count().default(0),
    /** Empty: from any version. */
    minCurrentVersion: p.text().default(""),
    releaseNotes: p.text().default(""),
    metadata: p.json<Record<string, string>>().defaultRaw("'{}'"),
    /** Declared digest of the bytes, lower-case hexadecimal; the bytes are stored under it. */
    sha256: p.text(),
    /** Declared size of the bytes. */
    sizeBytes: count(),
    /** Anti-rollback counter: a device never installs below the highest it has seen. */
    securityCounter: count().default(0),
    securityFix: p.boolean().default(false),
    kind: p.text().$type<UpdateKind>().default("FIRMWARE"),
    /** The application's name on the device; empty for firmware. */
    component: p.text().default(""),
    /** Older devices install it before any newer version of the product. */
    mandatoryStep: p.boolean().default(false),
    /** The exact bytes that signatures cover, relayed verbatim. */
    manifest: p.blob().strictNullable(),
    expiresAt: instant().strictNullable(),
    releasedAt: instant().strictNullable(),
    isDeleted: p.boolean().default(false),
    deletedAt: instant().strictNullable(),
    /** Since when its stored content is known to be damaged or missing. */
    damagedAt: instant().strictNullable(),
    /** When the stored content is to be read again. */
    checkDueAt: instant().defaultRaw("now()"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  filters: notDeleted,
  indexes: [{ name: "firmware_updates_sha256_index", properties: ["sha256"] }],
  uniques: [
    {
      name: "firmware_updates_product_version_unique",
      properties: ["product", "version"],
      where: "not is_deleted",
    },
  ],
});

/** A row of firmware_updates. */
export type FirmwareUpdateRow = InferEntity<typeof FirmwareUpdateEntity>;
