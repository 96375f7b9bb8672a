import { defineEntity, p } from "@mikro-orm/core";
import { count, instant } from "../../infra/database/columns.ts";

/** What is wrong with a device's heartbeats, by kind and field. No foreign key: it is written for devices that may be gone. */
export const HeartbeatFaultEntity = defineEntity({
  name: "HeartbeatFault",
  tableName: "heartbeat_faults",
  properties: {
    deviceId: p.uuid().primary(),
    kind: p.text().primary(),
    field: p.text().primary(),
    count: count().default(0),
    /** As the device sent it, which may be more than a bigint holds. */
    sequence: p.decimal().precision(20).scale(0).default("0"),
    value: p.text().default(""),
    description: p.text().default(""),
    noticedAt: instant(),
  },
});
