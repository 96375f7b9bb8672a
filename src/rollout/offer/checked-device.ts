import type { DeviceSnapshot } from "../../device/state/device-snapshot.ts";
import type { CheckedDevice } from "../rules/rule.ts";

/** What a device says of itself when it checks; what is undefined is taken from its newest heartbeat. */
export interface CheckReading {
  readonly firmwareVersion: string;
  /** Empty if the device did not say. */
  readonly bootId: string;
  readonly securityCounter: number;
  readonly batteryPercent?: number | undefined;
  readonly charging?: boolean | undefined;
  readonly storageFreeBytes?: number | undefined;
  /** The number of the contract's NetworkType. */
  readonly networkType?: number | undefined;
  readonly components?: Readonly<Record<string, string>> | undefined;
  readonly userConsent?: boolean | undefined;
}

/** A device as the rules see it: as it is known, with what it says now before that. */
export function checkedDevice(device: DeviceSnapshot, reading?: CheckReading): CheckedDevice {
  return {
    id: device.id,
    serialNumber: device.serialNumber,
    deviceType: device.deviceType,
    hardwareModel: device.hardwareModel,
    displayName: device.displayName,
    groups: device.groups,
    tags: device.tags,
    metadata: device.metadata,
    updatePin: device.updatePin,
    createdAtMs: device.createdAtMs,
    firmwareVersion: reading?.firmwareVersion ?? device.firmwareVersion,
    components: reading?.components ?? device.components,
    lastSeenAtMs: device.lastSeenAtMs,
    batteryPercent: reading?.batteryPercent ?? device.batteryPercent,
    charging: reading?.charging ?? device.charging,
    cpuPercent: device.cpuPercent,
    memoryPercent: device.memoryPercent,
    storageFreeBytes: reading?.storageFreeBytes ?? device.storageFreeBytes,
    temperatureCelsius: device.temperatureCelsius,
    networkType: reading?.networkType ?? device.networkType,
    carrier: device.carrier,
    signalDbm: device.signalDbm,
    securityCounter: Math.max(reading?.securityCounter ?? 0, device.securityCounter),
    bootId: reading?.bootId || device.bootId,
    userConsent: reading?.userConsent,
  };
}
