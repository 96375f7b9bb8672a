import type { DeviceSnapshot } from "../../device/state/device-snapshot.ts";
import { heldOver } from "../../device/state/held-readings.ts";
import type { CheckReadings } from "../../device/state/readings.ts";
import type { CheckedDevice } from "../rules/rule.ts";

/** What a device says of itself when it checks; what is undefined is taken from its newest heartbeat. */
export interface CheckReading extends CheckReadings {
  readonly firmwareVersion: string;
  /** Empty if the device did not say. */
  readonly bootId: string;
  readonly securityCounter: number;
  readonly components?: Readonly<Record<string, string>> | undefined;
  readonly userConsent?: boolean | undefined;
}

/** A device as the rules see it: as it is known, with what it says now before that. */
export function checkedDevice(device: DeviceSnapshot, reading?: CheckReading): CheckedDevice {
  return {
    ...heldOver(device, reading ?? {}),
    id: device.id,
    serialNumber: device.serialNumber,
    deviceType: device.deviceType,
    hardwareModel: device.hardwareModel,
    product: device.product,
    displayName: device.displayName,
    groups: device.groups,
    tags: device.tags,
    metadata: device.metadata,
    updatePin: device.updatePin,
    standing: device.standing,
    cloneSuspectedAtMs: device.cloneSuspectedAtMs,
    createdAtMs: device.createdAtMs,
    expectedIntervalMs: device.expectedIntervalMs,
    clockVerdict: device.clockVerdict,
    faultTimes: device.faultTimes,
    firmwareVersion: reading?.firmwareVersion ?? device.firmwareVersion,
    components: reading?.components ?? device.components,
    lastSeenAtMs: device.lastSeenAtMs,
    securityCounter: Math.max(reading?.securityCounter ?? 0, device.securityCounter),
    bootId: reading?.bootId || device.bootId,
    userConsent: reading?.userConsent,
  };
}
