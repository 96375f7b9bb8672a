import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import { count, createdAt } from "../infra/database/columns.ts";
import type { AttachmentKind } from "../manifest/attachment.ts";
import { FirmwareUpdateEntity } from "./firmware-update.entity.ts";

/** A file beside a firmware: what it is made of, or where it comes from. Its bytes are in the object store, by their digest. */
export const FirmwareAttachmentEntity = defineEntity({
  name: "FirmwareAttachment",
  tableName: "firmware_attachments",
  properties: {
    id: p.uuid().primary(),
    firmwareId: p.manyToOne(FirmwareUpdateEntity).mapToPk().joinColumn("firmware_id"),
    kind: p.text().$type<AttachmentKind>(),
    /** The format with its version, for people. */
    format: p.text(),
    sha256: p.text(),
    sizeBytes: count(),
    fileName: p.text(),
    /** Who attached it, as the audit log names callers. */
    creator: p.text(),
    createdAt: createdAt(),
  },
  uniques: [{ name: "firmware_attachments_firmware_id_sha256_unique", properties: ["firmwareId", "sha256"] }],
});

/** A row of firmware_attachments. */
export type FirmwareAttachmentRow = InferEntity<typeof FirmwareAttachmentEntity>;
