import { defineEntity, p } from "@mikro-orm/core";
import { count, instant } from "../infra/database/columns.ts";

/** A stored heartbeat whose errors are not counted yet. A trigger of device_heartbeats writes the rows. */
export const ErrorInboxEntity = defineEntity({
  name: "ErrorInbox",
  tableName: "error_inbox",
  properties: {
    receivedAt: instant().primary(),
    deviceId: p.uuid().primary(),
    sequence: count().primary(),
  },
});
