import { defineEntity, p } from "@mikro-orm/core";
import { createdAt, entityNamed, instant, updatedAt } from "../infra/database/columns.ts";

/** Why tokens are revoked that their device itself changed for another: first for the next one, then one that was never used. */
export const changeOverReasons = ["another one took its place", "a newer one was asked for"] as const;

/** A device's own bearer token. Only its SHA-256 is stored. A device may hold two while it changes over. */
export const DeviceCredentialEntity = defineEntity({
  name: "DeviceCredential",
  tableName: "device_credentials",
  properties: {
    id: p.uuid().primary(),
    deviceId: p.manyToOne(entityNamed("Device")).mapToPk().joinColumn("device_id"),
    secretHash: p.blob(),
    /** Whether it was never used yet, and takes the place of the device's other ones when it is. */
    isNext: p.boolean().default(false),
    expiresAt: instant().strictNullable(),
    revokedAt: instant().strictNullable(),
    revokeReason: p.text().strictNullable(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  indexes: [{ name: "device_credentials_device_id_index", properties: ["deviceId"] }],
  uniques: [{ name: "device_credentials_secret_hash_unique", properties: ["secretHash"] }],
});
