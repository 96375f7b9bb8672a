import { durationMs } from "@bufbuild/protobuf/wkt";
import { NetworkType } from "../../gen/ota/v1/heartbeat_pb.js";
import type { Offer } from "../../gen/ota/v1/update_service_pb.js";
import { MaintenanceSchedule } from "../schedule/maintenance-schedule.ts";
import { AgentFailure } from "./agent-failure.ts";
import type { SensorReading } from "./sensors.ts";

/** What a device is about to do with an offer. */
export type UpdateStage = "download" | "install";

/** What decides whether now is the time. */
export interface ReadinessCheck {
  readonly offer: Offer;
  readonly step: UpdateStage;
  readonly reading: SensorReading;
  /** How many bytes of the content are on the disk. */
  readonly alreadyStoredBytes: number;
  /** The device's time; undefined if its clock cannot be trusted, and then no window counts. */
  readonly now: Date | undefined;
  /** The device's time zone by its IANA name, if it knows one. */
  readonly timeZone: string | undefined;
  /** Whether the device's user agrees to be updated now. */
  readonly userConsent: boolean;
}

/**
 * Decides whether the device is in a state to go on now; what the device cannot measure is no obstacle. Throws
 * {@link AgentFailure}: `BATTERY_TOO_LOW` or `STORAGE_TOO_LOW`, or a {@link NotYet} where waiting is no fault of the device.
 */
export function checkReadiness(check: ReadinessCheck): void {
  checkCharge(check);
  checkStorage(check);
  if (check.step === "download") checkNetwork(check);
  else {
    checkWindow(check);
    checkConsent(check);
  }
}

/** It is not the time, by the rules of the offer: the device waits for as long as the offer holds. */
export class NotYet extends AgentFailure {}

function checkCharge({ offer, reading: { batteryPercent, charging } }: ReadinessCheck): void {
  if (batteryPercent === undefined || charging === true || batteryPercent >= offer.minBatteryPercent) return;
  throw new AgentFailure(
    "BATTERY_TOO_LOW",
    `the battery has ${Math.round(batteryPercent)} %, ${offer.minBatteryPercent} % are needed without external power`,
  );
}

function checkStorage({ offer, reading: { storageFreeBytes }, alreadyStoredBytes }: ReadinessCheck): void {
  if (storageFreeBytes === undefined) return;
  const needed = offer.minFreeStorageBytes > offer.sizeBytes ? offer.minFreeStorageBytes : offer.sizeBytes;
  if (storageFreeBytes + BigInt(alreadyStoredBytes) >= needed) return;
  throw new AgentFailure("STORAGE_TOO_LOW", `${storageFreeBytes} bytes are free, ${needed} are needed`);
}

function checkNetwork({ offer, reading: { network } }: ReadinessCheck): void {
  const type = network?.type ?? NetworkType.UNSPECIFIED;
  if (!offer.unmeteredNetworkOnly || !metered.has(type)) return;
  throw new NotYet("METERED_NETWORK", "the content may only be downloaded over Ethernet or Wi-Fi");
}

const metered: ReadonlySet<NetworkType> = new Set([
  NetworkType.CELLULAR,
  NetworkType.LPWAN,
  NetworkType.SATELLITE,
]);

function checkWindow({ offer, now, timeZone }: ReadinessCheck): void {
  if (offer.maintenanceWindows.length === 0 || now === undefined) return;
  const schedule = new MaintenanceSchedule(
    offer.maintenanceWindows.map(({ duration, ...window }) => ({
      ...window,
      durationMs: duration === undefined ? 0 : durationMs(duration),
    })),
  );
  const { open, changesAtMs } = schedule.at(now.getTime(), timeZone);
  if (open) return;
  const at = new Date(changesAtMs).toISOString();
  throw new NotYet("OUTSIDE_MAINTENANCE_WINDOW", `no maintenance window is open before ${at}`);
}

function checkConsent({ offer, userConsent }: ReadinessCheck): void {
  if (!offer.requireUserConsent || userConsent) return;
  throw new NotYet("CONSENT_REQUIRED", "the device's user has not agreed");
}
