import { defineEntity, p } from "@mikro-orm/core";
import { createdAt } from "../infra/database/columns.ts";

/** A link of the audit log's hash chain. Rows are only ever added. */
export const AuditLinkEntity = defineEntity({
  name: "AuditLink",
  tableName: "audit_links",
  properties: {
    /** From 1 on, without gaps. */
    sequence: p.bigint("number").primary().autoincrement(false),
    eventId: p.uuid(),
    /** SHA-256 of the event and of the link before: see `linkHash`. */
    hash: p.blob(),
    createdAt: createdAt(),
  },
  uniques: [{ name: "audit_links_event_id_unique", properties: ["eventId"] }],
});

/** An event that has no link yet. A trigger adds the row in the transaction that adds the event. */
export const UnlinkedAuditEventEntity = defineEntity({
  name: "UnlinkedAuditEvent",
  tableName: "unlinked_audit_events",
  properties: { eventId: p.uuid().primary() },
});
