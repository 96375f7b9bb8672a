import { defineEntity, p } from "@mikro-orm/core";
import { FirmwareUpdateEntity } from "./firmware-update.entity.ts";

/** Which texts name which firmware of a product, by their identity. A trigger keeps them from the firmware's row. */
export const FirmwareVersionKeyEntity = defineEntity({
  name: "FirmwareVersionKey",
  tableName: "firmware_version_keys",
  properties: {
    product: p.text().primary(),
    /** See `versionIdentity`. */
    identity: p.text().primary(),
    firmwareId: p.manyToOne(FirmwareUpdateEntity).mapToPk().joinColumn("firmware_id").deleteRule("cascade"),
  },
  indexes: [{ name: "firmware_version_keys_firmware_id_index", properties: ["firmwareId"] }],
});
