import { defineEntity, p } from "@mikro-orm/core";
import { createdAt, entityNamed } from "../infra/database/columns.ts";

/** A device's own public key: JWTs that its private half signs are the device's credential. */
export const DeviceKeyEntity = defineEntity({
  name: "DeviceKey",
  tableName: "device_keys",
  properties: {
    deviceId: p.oneToOne(entityNamed("Device")).mapToPk().primary().joinColumn("device_id"),
    /** SubjectPublicKeyInfo in DER. */
    publicKey: p.blob(),
    createdAt: createdAt(),
  },
});
