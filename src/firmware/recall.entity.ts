import { defineEntity, p } from "@mikro-orm/core";
import { count, createdAt, instant, updatedAt } from "../infra/database/columns.ts";
import { FirmwareUpdateEntity } from "./firmware-update.entity.ts";

/** A version that no device may run any more, until it is reinstated. It need not be in the catalogue. */
export const RecallEntity = defineEntity({
  name: "Recall",
  tableName: "recalls",
  properties: {
    id: p.uuid().primary(),
    product: p.text(),
    /** The application's name on the device; empty for firmware. */
    component: p.text(),
    /** The version, or a text under which devices report it. */
    version: p.text(),
    /** See `versionIdentity`; at most one recall of it is in force in a product. */
    identity: p.text(),
    replacementId: p.manyToOne(FirmwareUpdateEntity).mapToPk().joinColumn("replacement_id"),
    reason: p.text(),
    /** As the audit log names callers. */
    actor: p.text(),
    /** The rollout of the replacement that leads away from it: the newest one, if the replacement was changed. */
    rolloutId: p.uuid().nullable(),
    /** Devices that ran it when that rollout's were last counted; null before. */
    runningCount: count().nullable(),
    /** Null while it is in force. */
    reinstatedAt: instant().nullable(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  uniques: [
    {
      name: "recalls_in_force_unique",
      properties: ["product", "identity"],
      where: "reinstated_at is null",
    },
  ],
});
