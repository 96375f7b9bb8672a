import { defineEntity, p } from "@mikro-orm/core";
import { count, instant } from "../../infra/database/columns.ts";

/** A device that came or went or, without a device, changes that are not listed. The newest some thousand are kept. */
export const PresenceChangeEntity = defineEntity({
  name: "PresenceChange",
  tableName: "presence_changes",
  properties: {
    id: p.bigint("number").primary().autoincrement(),
    deviceId: p.uuid().strictNullable(),
    presence: p.text().default(""),
    previousPresence: p.text().default(""),
    /** Of the heartbeat whose age, or whose arrival, made the change. Names the change: several replicas may notice it. */
    lastSeenAt: instant().strictNullable(),
    changedAt: instant().defaultRaw("now()"),
    lostCount: count().default(0),
  },
  uniques: [{ properties: ["deviceId", "presence", "lastSeenAt"] }],
});
