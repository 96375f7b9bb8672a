import { defineEntity, p } from "@mikro-orm/core";
import { instant } from "../infra/database/columns.ts";

/** A session of the console that was ended before its time; kept until that time. */
export const EndedSessionEntity = defineEntity({
  name: "EndedSession",
  tableName: "ended_sessions",
  properties: {
    id: p.uuid().primary(),
    /** When it would have ended by itself. */
    expiresAt: instant(),
  },
  indexes: [{ name: "ended_sessions_expires_at_index", properties: ["expiresAt"] }],
});
