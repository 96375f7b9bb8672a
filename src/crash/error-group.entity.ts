import { defineEntity, p } from "@mikro-orm/core";
import type { Severity } from "../device/state/severity.ts";
import { count, createdAt, entityNamed, instant, updatedAt } from "../infra/database/columns.ts";
import type { ErrorGroupState } from "./error-group.ts";
import type { StackKind } from "./stacks/stack.ts";

/** Errors of one cause; see {@link ErrorGroup} for the columns. */
export const ErrorGroupEntity = defineEntity({
  name: "ErrorGroup",
  tableName: "error_groups",
  properties: {
    id: p.uuid().primary(),
    fingerprint: p.text(),
    /** Of the rules by which the fingerprint was made. */
    fingerprintVersion: p.smallint(),
    state: p.text().$type<ErrorGroupState>(),
    title: p.text(),
    code: p.text(),
    severity: p.text().$type<Severity>(),
    fatal: p.boolean(),
    stackKind: p.text().$type<StackKind>(),
    occurrenceCount: count(),
    deviceCount: count(),
    firstSeenAt: instant(),
    lastSeenAt: instant(),
    firstSeenVersion: p.text(),
    lastSeenVersion: p.text(),
    resolvedVersion: p.text().default(""),
    regressedAt: instant().strictNullable(),
    stateReason: p.text().default(""),
    groupedBy: p.text().default(""),
    /** The group that counts its errors as well; null for none. */
    mergedInto: p.uuid().strictNullable(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  indexes: [
    { name: "error_groups_last_seen_at_index", properties: ["lastSeenAt", "id"] },
    { name: "error_groups_first_seen_at_index", properties: ["firstSeenAt", "id"] },
    { name: "error_groups_occurrence_count_index", properties: ["occurrenceCount", "id"] },
    { name: "error_groups_device_count_index", properties: ["deviceCount", "id"] },
    { name: "error_groups_merged_into_index", properties: ["mergedInto"] },
  ],
  uniques: [{ name: "error_groups_fingerprint_unique", properties: ["fingerprint"] }],
});

/** How often a group was seen on a day (UTC) with a firmware version on devices of a type. */
export const ErrorCountEntity = defineEntity({
  name: "ErrorCount",
  tableName: "error_counts",
  properties: {
    group: () =>
      p.manyToOne(entityNamed("ErrorGroup")).primary().deleteRule("cascade").updateRule("no action"),
    day: p.date().primary(),
    firmwareVersion: p.text().primary(),
    deviceType: p.text().primary(),
    occurrenceCount: count(),
  },
  indexes: [
    { name: "error_counts_firmware_version_index", properties: ["firmwareVersion", "group"] },
    { name: "error_counts_day_index", properties: ["day"] },
  ],
});

/** A device on which a group was seen. */
export const ErrorGroupDeviceEntity = defineEntity({
  name: "ErrorGroupDevice",
  tableName: "error_group_devices",
  properties: {
    group: () =>
      p.manyToOne(entityNamed("ErrorGroup")).primary().deleteRule("cascade").updateRule("no action"),
    deviceId: p.uuid().primary(),
    occurrenceCount: count(),
    firstSeenAt: instant(),
    lastSeenAt: instant(),
    lastSeenVersion: p.text(),
    /** The hour in which {@link keptCount} occurrences were kept. */
    keptHour: instant(),
    keptCount: p.smallint(),
  },
  indexes: [
    {
      name: "error_group_devices_last_seen_at_index",
      properties: ["group", "lastSeenAt", "deviceId"],
    },
  ],
});
