import { defineEntity, p } from "@mikro-orm/core";
import { entityNamed } from "../infra/database/columns.ts";

/** A serial number that may enrol with a key which names its serial numbers. In a table, so that one is looked up without the others. */
export const EnrolmentKeySerialEntity = defineEntity({
  name: "EnrolmentKeySerial",
  tableName: "enrolment_key_serials",
  properties: {
    enrolmentKeyId: p
      .manyToOne(entityNamed("EnrolmentKey"))
      .mapToPk()
      .joinColumn("enrolment_key_id")
      .primary(),
    serialNumber: p.text().primary(),
  },
});
