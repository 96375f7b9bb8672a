import { defineEntity, p } from "@mikro-orm/core";
import { count, createdAt } from "../infra/database/columns.ts";

/**
 * Something that happened. A row is added in the transaction of the change, by a trigger on the audit log or by the watch over alerts, and
 * numbered once it is committed: the order of numbers is one in which nobody who reads on is overtaken.
 */
export const FleetEventEntity = defineEntity({
  name: "FleetEvent",
  tableName: "fleet_events",
  properties: {
    /** That of the audit event, if it is one. */
    id: p.uuid().primary(),
    /** Without gaps from the oldest that is kept; null until it has one. */
    sequence: count().nullable(),
    type: p.text(),
    resourceType: p.text(),
    resourceId: p.text(),
    summary: p.text(),
    details: p.json<Record<string, string>>().defaultRaw("'{}'"),
    occurredAt: createdAt(),
  },
  uniques: [{ name: "fleet_events_sequence_unique", properties: ["sequence"] }],
  indexes: [
    {
      name: "fleet_events_unnumbered_index",
      expression:
        "create index fleet_events_unnumbered_index on fleet_events (occurred_at, id) where sequence is null",
    },
  ],
});
