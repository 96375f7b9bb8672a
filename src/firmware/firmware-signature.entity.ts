import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import { SigningKeyEntity } from "../access/signing-key.entity.ts";
import { createdAt } from "../infra/database/columns.ts";
import { FirmwareUpdateEntity } from "./firmware-update.entity.ts";

/** A detached signature over a firmware's manifest, verified before it was stored. */
export const FirmwareSignatureEntity = defineEntity({
  name: "FirmwareSignature",
  tableName: "firmware_signatures",
  properties: {
    id: p.uuid().primary(),
    firmwareId: p.manyToOne(FirmwareUpdateEntity).mapToPk().joinColumn("firmware_id"),
    keyId: p.manyToOne(SigningKeyEntity).mapToPk().joinColumn("key_id"),
    algorithm: p.text(),
    signature: p.blob(),
    createdAt: createdAt(),
  },
  indexes: [{ name: "firmware_signatures_key_id_index", properties: ["keyId"] }],
  uniques: [{ name: "firmware_signatures_firmware_id_key_id_unique", properties: ["firmwareId", "keyId"] }],
});

/** A row of firmware_signatures. */
export type FirmwareSignatureRow = InferEntity<typeof FirmwareSignatureEntity>;
