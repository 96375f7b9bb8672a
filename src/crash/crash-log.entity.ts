import { defineEntity, p } from "@mikro-orm/core";
import { count, createdAt, instant } from "../infra/database/columns.ts";

/** A crash log whose compressed content is, or is about to be, in the object store. */
export const CrashLogEntity = defineEntity({
  name: "CrashLog",
  tableName: "crash_logs",
  properties: {
    id: p.uuid().primary(),
    deviceId: p.uuid(),
    /** Of the content as it was uploaded. */
    sha256: p.text(),
    /** Of the content as it was uploaded. */
    sizeBytes: count(),
    /** The address of the stored object, which is this log's alone. */
    objectSha256: p.text(),
    /** When the object was there; null before. */
    storedAt: instant().strictNullable(),
    /** When a heartbeat first named the log; null before. */
    referencedAt: instant().strictNullable(),
    createdAt: createdAt(),
  },
  indexes: [
    { name: "crash_logs_device_id_index", properties: ["deviceId", "createdAt"] },
    { name: "crash_logs_created_at_index", properties: ["createdAt"] },
    { name: "crash_logs_object_sha256_index", properties: ["objectSha256"] },
  ],
});
