import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import { createdAt } from "../infra/database/columns.ts";

/** Who changed what, when and why. Rows are only ever added, in the transaction that makes the change. */
export const AuditEventEntity = defineEntity({
  name: "AuditEvent",
  tableName: "audit_events",
  properties: {
    /** UUIDv7: the order of ids is the order of time. */
    id: p.uuid().primary(),
    occurredAt: createdAt(),
    actor: p.text(),
    action: p.text(),
    resourceType: p.text(),
    resourceId: p.text(),
    reason: p.text().strictNullable(),
    details: p.json<Record<string, string>>().defaultRaw("'{}'"),
    /** Where the call came from, and its id; null for what no call did. */
    address: p.text().strictNullable(),
    requestId: p.text().strictNullable(),
  },
  indexes: [
    { name: "audit_events_resource_index", properties: ["resourceId", "id"] },
    { name: "audit_events_actor_index", properties: ["actor", "id"] },
    { name: "audit_events_action_index", properties: ["action", "id"] },
    { name: "audit_events_resource_type_index", properties: ["resourceType", "id"] },
  ],
});

/** A row of audit_events. */
export type AuditEventRow = InferEntity<typeof AuditEventEntity>;
