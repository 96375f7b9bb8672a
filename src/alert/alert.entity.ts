import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import { createdAt, instant } from "../infra/database/columns.ts";

/** How much an alert matters. */
export type AlertSeverity = "WARNING" | "CRITICAL";

/** Something that needs a person, for as long as it does. Written by the watch over alerts, on one replica at a time. */
export const AlertEntity = defineEntity({
  name: "Alert",
  tableName: "alerts",
  properties: {
    /** UUIDv7: the order of ids is that in which they fired. */
    id: p.uuid().primary(),
    /** Of all alerts with one key at most one is firing. */
    key: p.text(),
    rule: p.text(),
    severity: p.text().$type<AlertSeverity>(),
    resourceType: p.text(),
    resourceId: p.text(),
    summary: p.text(),
    firedAt: createdAt(),
    /** Since when its condition has not held any more; null while it holds. It is resolved once that has lasted. */
    clearSince: instant().nullable(),
    /** Null while it is firing. */
    resolvedAt: instant().nullable(),
    acknowledgedAt: instant().nullable(),
    /** As the audit log names callers; empty if nobody has acknowledged it. */
    acknowledger: p.text().default(""),
    note: p.text().default(""),
  },
  indexes: [
    {
      name: "alerts_firing_unique",
      expression: "create unique index alerts_firing_unique on alerts (key) where resolved_at is null",
    },
    { name: "alerts_resource_id_index", properties: ["resourceId", "id"] },
    {
      name: "alerts_resolved_at_index",
      expression:
        "create index alerts_resolved_at_index on alerts (resolved_at) where resolved_at is not null",
    },
  ],
});

/** A row of alerts. */
export type AlertRow = InferEntity<typeof AlertEntity>;

/** What some replica sees of itself or of what it needs, such as a store that does not answer: it counts until it expires. */
export const AlertSignalEntity = defineEntity({
  name: "AlertSignal",
  tableName: "alert_signals",
  properties: {
    /** Names the process. */
    replica: p.uuid().primary(),
    rule: p.text().primary(),
    severity: p.text().$type<AlertSeverity>(),
    summary: p.text(),
    expiresAt: instant(),
  },
});
