import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { NetworkType } from "../../gen/ota/v1/heartbeat_pb.js";
import { OfferSchema } from "../../gen/ota/v1/update_service_pb.js";
import { checkReadiness, NotYet, type ReadinessCheck } from "./readiness.ts";

const noon = new Date("2026-03-02T12:00:00Z");

function check(
  offer: Parameters<typeof create<typeof OfferSchema>>[1],
  other: Partial<Omit<ReadinessCheck, "offer">> = {},
): string {
  try {
    checkReadiness({
      offer: create(OfferSchema, { sizeBytes: 100n, ...offer }),
      step: "install",
      reading: {},
      alreadyStoredBytes: 0,
      now: noon,
      timeZone: undefined,
      userConsent: false,
      ...other,
    });
    return "ready";
  } catch (error) {
    const { reason } = error as { reason: string };
    return error instanceof NotYet ? `wait: ${reason}` : reason;
  }
}

function at(start: string) {
  return { maintenanceWindows: [{ weekdays: [], start, duration: durationFromMs(3_600_000), timeZone: "" }] };
}

describe("a device before an update", () => {
  it.each([
    ["measures nothing", {}, {}, "ready"],
    [
      "has too little charge",
      { minBatteryPercent: 30 },
      { reading: { batteryPercent: 29 } },
      "BATTERY_TOO_LOW",
    ],
    [
      "is on external power",
      { minBatteryPercent: 30 },
      { reading: { batteryPercent: 29, charging: true } },
      "ready",
    ],
    ["has too little storage", {}, { reading: { storageFreeBytes: 99n } }, "STORAGE_TOO_LOW"],
    ["counts what it has", {}, { reading: { storageFreeBytes: 99n }, alreadyStoredBytes: 1 }, "ready"],
    ["is outside of the window", at("13:00"), {}, "wait: OUTSIDE_MAINTENANCE_WINDOW"],
    ["is in the window", at("12:00"), {}, "ready"],
    ["is in the window of its time zone", at("13:00"), { timeZone: "Europe/Berlin" }, "ready"],
    ["cannot tell the time", at("13:00"), { now: undefined }, "ready"],
    ["may download at any time", at("13:00"), { step: "download" }, "ready"],
    ["needs consent", { requireUserConsent: true }, {}, "wait: CONSENT_REQUIRED"],
    ["has consent", { requireUserConsent: true }, { userConsent: true }, "ready"],
    [
      "is on a metered network",
      { unmeteredNetworkOnly: true },
      { step: "download", reading: { network: { type: NetworkType.CELLULAR } } },
      "wait: METERED_NETWORK",
    ],
    [
      "is on Wi-Fi",
      { unmeteredNetworkOnly: true },
      { step: "download", reading: { network: { type: NetworkType.WIFI } } },
      "ready",
    ],
  ] as const)("%s", (_, offer, other, expected) => {
    expect(check(offer as never, other as never)).toBe(expected);
  });
});
