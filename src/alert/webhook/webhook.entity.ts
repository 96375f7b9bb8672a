import { defineEntity, p } from "@mikro-orm/core";
import { createdAt, entityNamed } from "../../infra/database/columns.ts";

/** In which form a receiver is told. */
export type WebhookFormat = "CLOUD_EVENTS" | "SLACK" | "EMAIL";

/** How far a delivery is. */
export type DeliveryState = "PENDING" | "DELIVERED" | "DEAD";

/** A receiver of events. */
export const WebhookEntity = defineEntity({
  name: "Webhook",
  tableName: "webhooks",
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    url: p.text(),
    format: p.text().$type<WebhookFormat>(),
    /** What messages are signed with: it is needed for each, so it is stored as it is, and never shown again. Empty for e-mails. */
    secret: p.blob(),
    /** Types, or beginnings with a star; empty: all. */
    eventTypes: p.array().columnType("text[]").defaultRaw("'{}'"),
    disabled: p.boolean().default(false),
    creator: p.text(),
    createdAt: createdAt(),
    /** Of an e-mail: when the next one may be sent; while a replica sends one, when that replica's lease ends. */
    mailDueAt: createdAt(),
  },
  uniques: [{ name: "webhooks_name_unique", properties: ["name"] }],
});

/** An event on its way to a receiver. It goes when the event is kept no more. */
export const WebhookDeliveryEntity = defineEntity({
  name: "WebhookDelivery",
  tableName: "webhook_deliveries",
  properties: {
    webhook: () =>
      p.manyToOne(entityNamed("Webhook")).primary().deleteRule("cascade").updateRule("no action"),
    event: () =>
      p.manyToOne(entityNamed("FleetEvent")).primary().deleteRule("cascade").updateRule("no action"),
    state: p.text().$type<DeliveryState>().default("PENDING"),
    attemptCount: p.integer().default(0),
    /** What became of the last try, in words. */
    outcome: p.text().default(""),
    /** When it is tried next; while a replica tries it, when that replica's lease ends; once it is delivered or dead, when it became so. */
    dueAt: createdAt(),
    /** Since when it is tried: made, or replayed. */
    since: createdAt(),
  },
  indexes: [
    {
      name: "webhook_deliveries_due_index",
      expression:
        "create index webhook_deliveries_due_index on webhook_deliveries (webhook_id, due_at) where state = 'PENDING'",
    },
    {
      // What became of the last one, for the alert.
      name: "webhook_deliveries_ended_index",
      expression:
        "create index webhook_deliveries_ended_index on webhook_deliveries (webhook_id, due_at) where state <> 'PENDING'",
    },
    { name: "webhook_deliveries_event_id_index", properties: ["event"] },
  ],
});
