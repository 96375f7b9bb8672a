import { defineEntity, p } from "@mikro-orm/core";
import { count, createdAt, instant, updatedAt } from "../../infra/database/columns.ts";
import type { ClockVerdict } from "./clock-verdict.ts";
import { DeviceEntity } from "./device.entity.ts";
import { readingProperties } from "./reading-properties.ts";

/**
 * A device's latest reading, written in batches. No index on what changes and free space on every page, so that
 * updates stay on their page (HOT).
 */
export const DeviceStateEntity = defineEntity({
  name: "DeviceState",
  tableName: "device_state",
  properties: {
    deviceId: p.manyToOne(DeviceEntity).mapToPk().joinColumn("device_id").primary(),
    lastSeenAt: instant(),
    /** The device's own clock: untrusted. */
    lastDeviceTime: instant().strictNullable(),
    /** How far its clock was ahead of the service's, and what that shows; null if nobody knows. */
    clockOffsetMs: count().nullable(),
    clockVerdict: p.text().$type<ClockVerdict>().nullable(),
    epoch: p.integer(),
    lastSequence: count(),
    firmwareVersion: p.text(),
    bootId: p.text(),
    uptimeMs: count(),
    ...readingProperties(),
    /**
     * The contract's number of the network's type, as releases before migration 0013 wrote it; such a release can run beside
     * this one. A later migration drops it.
     */
    networkTypeNumber: p.smallint().fieldName("network_type").nullable(),
    securityCounter: count(),
    imageSha256: p.blob().strictNullable(),
    components: p.json<Record<string, string>>().strictNullable(),
    /** Whether the device is not retired: kept by triggers, so that the fleet's counters need no other table. */
    inService: p.boolean().default(true),
    /**
     * How often a sign of life of the device is expected, in milliseconds; null: as often as the service's setting says. Kept by
     * triggers, and for all devices of a type by whoever changes the type, as the function expected_interval_of says.
     */
    expectedIntervalMs: count().strictNullable(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
});
