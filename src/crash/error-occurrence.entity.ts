import { defineEntity, p } from "@mikro-orm/core";
import { count, instant } from "../infra/database/columns.ts";

/**
 * One time that an error happened: an entry in `errors` of a heartbeat, which holds the text. Partitioned by day of
 * received_at as the heartbeats are.
 */
export const ErrorOccurrenceEntity = defineEntity({
  name: "ErrorOccurrence",
  tableName: "error_occurrences",
  properties: {
    deviceId: p.uuid().primary(),
    receivedAt: instant().primary(),
    id: p.uuid().primary(),
    groupId: p.uuid(),
    sequence: count(),
    /** The index in the heartbeat's errors. */
    position: p.smallint(),
    /** Only a log that this device uploaded. */
    crashLogId: p.uuid().strictNullable(),
  },
  indexes: [{ name: "error_occurrences_group_id_index", properties: ["groupId", "receivedAt", "id"] }],
});
