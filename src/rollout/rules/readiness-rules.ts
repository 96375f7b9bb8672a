import type { NetworkType } from "../../device/state/readings.ts";
import type { MaintenanceWindow } from "../../policy/field.ts";
import { windowZone } from "../../schedule/maintenance-schedule.ts";
import type { CompiledRollout } from "./compiled-rollout.ts";
import { nextFirmware } from "./progress-rules.ts";
import type { CheckedDevice, Rule } from "./rule.ts";

/** Whether the device is in a state to take the update now, and whether it is its turn. What it never told stands against nothing, unless the policy says so. */
export const readinessRules: readonly Rule[] = [
  {
    name: "min_battery_percent",
    scope: "device",
    judge: (rollout, device) => {
      const { firmware } = nextFirmware(rollout, device);
      if (isChargeTooLow(firmware, device)) return "BATTERY_TOO_LOW";
      return rollout.rollout.policy.requireReadings && isChargeUnknown(firmware, device)
        ? "BATTERY_UNKNOWN"
        : undefined;
    },
    words: (rollout, device, _facts, reason) => {
      const { firmware } = nextFirmware(rollout, device);
      return batteryWords(firmware, device, reason === "BATTERY_TOO_LOW" || reason === "BATTERY_UNKNOWN");
    },
  },
  {
    name: "min_free_storage_bytes",
    scope: "device",
    judge: (rollout, device) => {
      const needed = neededStorage(rollout, device);
      if (isStorageTooLow(needed, device)) return "STORAGE_TOO_LOW";
      return rollout.rollout.policy.requireReadings && isStorageUnknown(needed, device)
        ? "STORAGE_UNKNOWN"
        : undefined;
    },
    words: (rollout, device, _facts, reason) =>
      storageWords(neededStorage(rollout, device), device, reason !== undefined),
  },
  {
    name: "max_metered_bytes",
    scope: "device",
    judge: (rollout, device) => {
      const { maxMeteredBytes } = rollout.rollout.policy;
      if (maxMeteredBytes === null || !isMetered(device.networkType)) return undefined;
      return nextFirmware(rollout, device).firmware.sizeBytes > maxMeteredBytes
        ? "METERED_NETWORK"
        : undefined;
    },
    words: (rollout, device, _facts, reason) => {
      const { maxMeteredBytes } = rollout.rollout.policy;
      const { sizeBytes } = nextFirmware(rollout, device).firmware;
      return {
        required:
          maxMeteredBytes === null ? "any network" : `at most ${maxMeteredBytes} bytes on a metered network`,
        actual: `${sizeBytes} bytes, ${networkText(device.networkType)}`,
        message:
          reason === undefined
            ? "The device may download over its network."
            : `${sizeBytes} bytes are more than the ${maxMeteredBytes} that may go over a metered network`,
      };
    },
  },
  {
    name: "maintenance_windows",
    scope: "device",
    judge: (rollout, device, facts) =>
      rollout.windows.always || rollout.windows.at(facts.nowMs(), zoneOf(device)).open
        ? undefined
        : "OUTSIDE_MAINTENANCE_WINDOW",
    words: (rollout, device, facts, reason) => {
      const { maintenanceWindows } = rollout.rollout.policy;
      const { changesAtMs } = rollout.windows.at(facts.nowMs(), zoneOf(device));
      const at = rollout.windows.always ? "" : new Date(changesAtMs).toISOString();
      return {
        required: maintenanceWindows.map(windowText).join("; ") || "any time",
        actual: `${new Date(facts.nowMs()).toISOString()}${zonesText(maintenanceWindows, zoneOf(device))}`,
        message:
          reason === undefined
            ? "It is the time."
            : `no maintenance window is open; the next change is at ${at}`,
      };
    },
  },
  {
    name: "require_user_consent",
    scope: "device",
    judge: (rollout, { userConsent }) =>
      rollout.rollout.policy.requireUserConsent && userConsent !== true ? "CONSENT_REQUIRED" : undefined,
    words: (rollout, { userConsent }, _facts, reason) => ({
      required: rollout.rollout.policy.requireUserConsent ? "the user's consent" : "none",
      actual: userConsent === undefined ? "not known before the device asks" : consentText(userConsent),
      message: reason === undefined ? "No consent is missing." : "the device's user has not agreed",
    }),
  },
  {
    name: "max_in_progress",
    scope: "rollout",
    judge: (rollout, _device, facts) => {
      const { maxInProgress } = rollout.rollout.policy;
      return maxInProgress !== null && facts.inProgress(rollout.id) >= maxInProgress
        ? "TOO_MANY_IN_PROGRESS"
        : undefined;
    },
    words: (rollout, _device, facts, reason) => {
      const { maxInProgress } = rollout.rollout.policy;
      return {
        required: maxInProgress === null ? "any number" : `fewer than ${maxInProgress} devices updating`,
        actual: `${facts.inProgress(rollout.id)} devices updating`,
        message:
          reason === undefined
            ? "There is room for one more device."
            : `${maxInProgress} devices are at the update, which is as many as may`,
      };
    },
  },
  {
    name: "offers_per_minute",
    scope: "rollout",
    judge: (rollout, _device, facts) =>
      rollout.rollout.policy.offersPerMinute !== null && facts.pacedUntilMs(rollout.id) > facts.nowMs()
        ? "PACED"
        : undefined,
    words: (rollout, _device, facts, reason) => {
      const { offersPerMinute } = rollout.rollout.policy;
      return {
        required: offersPerMinute === null ? "no limit" : `at most ${offersPerMinute} offers in a minute`,
        actual:
          reason === undefined
            ? "not reached"
            : `reached until ${new Date(facts.pacedUntilMs(rollout.id)).toISOString()}`,
        message:
          reason === undefined
            ? "An offer may be made now."
            : `${offersPerMinute} devices were offered it in the last minute, which is as many as may`,
      };
    },
  },
];

/** Of a firmware, what its installation asks of a device's charge. */
export interface BatteryNeed {
  readonly minBatteryPercent: number;
}

/** Whether the charge is too low and no external power is connected. */
export function isChargeTooLow({ minBatteryPercent }: BatteryNeed, device: CheckedDevice): boolean {
  const { batteryPercent, charging } = device;
  return charging !== true && batteryPercent !== undefined && batteryPercent < minBatteryPercent;
}

/** Whether the firmware asks for a charge, and nobody knows that of the device. */
function isChargeUnknown({ minBatteryPercent }: BatteryNeed, device: CheckedDevice): boolean {
  return minBatteryPercent > 0 && device.batteryPercent === undefined && device.charging !== true;
}

/** Whether less storage is free than is needed. */
export function isStorageTooLow(neededBytes: number, { storageFreeBytes }: CheckedDevice): boolean {
  return storageFreeBytes !== undefined && storageFreeBytes < neededBytes;
}

/** Whether free storage is needed, and nobody knows how much the device has. */
function isStorageUnknown(neededBytes: number, { storageFreeBytes }: CheckedDevice): boolean {
  return neededBytes > 0 && storageFreeBytes === undefined;
}

/** Whether an offer rests on a reading that the device never gave. */
export function isOfferedUnknown(rollout: CompiledRollout, device: CheckedDevice): boolean {
  return (
    isChargeUnknown(nextFirmware(rollout, device).firmware, device) ||
    isStorageUnknown(neededStorage(rollout, device), device)
  );
}

/** The free storage that a firmware needs: what it says itself, or its size times the factor. */
export function storageNeed(
  firmware: { readonly minFreeStorageBytes: number; readonly sizeBytes: number },
  factor: number,
): number {
  return Math.max(firmware.minFreeStorageBytes, Math.ceil(firmware.sizeBytes * factor));
}

/** The charge that is asked for and the one that is, in words. */
export function batteryWords({ minBatteryPercent }: BatteryNeed, device: CheckedDevice, fails: boolean) {
  const { batteryPercent, charging } = device;
  const isKnown = batteryPercent !== undefined;
  const charge = isKnown ? `${Math.round(batteryPercent)} %` : "unknown";
  return {
    required: minBatteryPercent === 0 ? "any" : `at least ${minBatteryPercent} %, or charging`,
    actual: `${charge}, ${charging === true ? "charging" : "not charging"}`,
    message: fails
      ? `the charge is ${isKnown ? `${batteryPercent} %` : "not known"}, ${minBatteryPercent} % or external power is needed`
      : isChargeUnknown({ minBatteryPercent }, device)
        ? "The device never told its charge, which holds nothing back here; it checks itself."
        : "The charge suffices.",
  };
}

/** The free storage that is asked for and that is there, in words. */
export function storageWords(neededBytes: number, device: CheckedDevice, fails: boolean) {
  const { storageFreeBytes } = device;
  return {
    required: neededBytes === 0 ? "any" : `at least ${neededBytes} bytes`,
    actual: storageFreeBytes === undefined ? "unknown" : `${storageFreeBytes} bytes`,
    message: fails
      ? `${storageFreeBytes === undefined ? "it is not known how many" : storageFreeBytes} bytes are free, ${neededBytes} are needed`
      : isStorageUnknown(neededBytes, device)
        ? "The device never told its free storage, which holds nothing back here; it checks itself."
        : "The free storage suffices.",
  };
}

/** The time zone that the device's metadata names. */
export function zoneOf({ metadata }: CheckedDevice): string | undefined {
  return metadata["time_zone"];
}

/** Whether data costs money on this kind of network. */
function isMetered(networkType: NetworkType | undefined): boolean {
  return networkType === "CELLULAR" || networkType === "LPWAN" || networkType === "SATELLITE";
}

function networkText(networkType: NetworkType | undefined): string {
  return networkType === undefined ? "network unknown" : networkWords[networkType];
}

const networkWords: Readonly<Record<NetworkType, string>> = {
  ETHERNET: "Ethernet",
  WIFI: "Wi-Fi",
  CELLULAR: "cellular",
  LPWAN: "LPWAN",
  SATELLITE: "satellite",
};

function neededStorage(rollout: CompiledRollout, device: CheckedDevice): number {
  return storageNeed(nextFirmware(rollout, device).firmware, rollout.rollout.policy.storageFactor);
}

function consentText(given: boolean): string {
  return given ? "given" : "not given";
}

function windowText(window: MaintenanceWindow): string {
  const days =
    window.weekdays.length === 0 ? "every day" : window.weekdays.map((day) => weekdays[day - 1]).join(", ");
  return `${days} from ${window.start} for ${Math.round(window.durationMs / 60_000)} minutes (${window.timeZone || "UTC"})`;
}

/** The time zones by which the windows are read for a device, and what its metadata says instead of one, if it does. */
function zonesText(windows: readonly MaintenanceWindow[], deviceZone: string | undefined): string {
  if (windows.length === 0) return "";
  const zones = new Set(windows.map((window) => windowZone(deviceZone, window) || "UTC"));
  const used = `, time zone ${[...zones].join(" or ")}`;
  const isOther = deviceZone !== undefined && !zones.has(deviceZone);
  return isOther ? `${used}: the device's metadata says ${JSON.stringify(deviceZone)}, which is none` : used;
}

const weekdays = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
