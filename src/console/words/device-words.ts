import {
  type Device,
  ExpectedIntervalSource,
  Presence,
  Standing,
  UpdatePin,
} from "../../../gen/ota/v1/device_pb.js";
import { NetworkType } from "../../../gen/ota/v1/heartbeat_pb.js";
import type { Tone } from "../ui/status.tsx";

/** How a device's presence reads. */
export const presences: Readonly<Record<Presence, { tone: Tone; text: string }>> = {
  [Presence.UNSPECIFIED]: { tone: "idle", text: "Unknown" },
  [Presence.UNKNOWN]: { tone: "idle", text: "Never heard from" },
  [Presence.ONLINE]: { tone: "good", text: "Online" },
  [Presence.LATE]: { tone: "warn", text: "Late" },
  [Presence.OFFLINE]: { tone: "bad", text: "Offline" },
};

/** How rollouts treat a device. */
export const pins: Readonly<Record<UpdatePin, string>> = {
  [UpdatePin.UNSPECIFIED]: "as any other",
  [UpdatePin.CANARY]: "always in the first ring",
  [UpdatePin.EXCLUDED]: "never offered an update",
};

/** How far a device is let in. */
export const standings: Readonly<Record<Standing, { tone: Tone; text: string }>> = {
  [Standing.UNSPECIFIED]: { tone: "idle", text: "" },
  [Standing.ADMITTED]: { tone: "good", text: "Let in" },
  [Standing.QUARANTINED]: { tone: "warn", text: "In quarantine" },
  [Standing.BLOCKED]: { tone: "bad", text: "Blocked" },
};

/** Who says how often a device is expected. */
export const intervalSources: Readonly<Record<ExpectedIntervalSource, string>> = {
  [ExpectedIntervalSource.UNSPECIFIED]: "",
  [ExpectedIntervalSource.OPERATOR]: "as an operator said of it",
  [ExpectedIntervalSource.DEVICE]: "as it says itself",
  [ExpectedIntervalSource.DEVICE_TYPE]: "as is said of its type",
  [ExpectedIntervalSource.SETTING]: "by the service's setting",
};

/** A device's name for people: the one that it was given, or its serial number. */
export function deviceTitle({ displayName, serialNumber, id }: Device): string {
  return displayName || serialNumber || id;
}

/** A kind of network as it is written: `Wi-Fi`, `Cellular`. */
export function networkName(type: NetworkType): string {
  const name = NetworkType[type] ?? "";
  if (name === "WIFI") return "Wi-Fi";
  if (name === "UNSPECIFIED" || name === "") return "unknown";
  return name.length <= 5 ? name : name.charAt(0) + name.slice(1).toLowerCase();
}
