import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  compiled,
  device,
  noonMs,
  nothingKnown,
  step,
  type Wish,
} from "../../../test/rollout/compiled-fixture.ts";
import { ReportedVersions } from "../../version/reported-versions.ts";
import { placeOf } from "../model/bucket.ts";
import type { RingState } from "../model/deployment-ring.entity.ts";
import type { OpenUpdate } from "../model/open-update.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";
import { givesWay } from "../rules/giving-way.ts";
import type { CheckedDevice } from "../rules/rule.ts";
import { versionFacts } from "../rules/version-facts.ts";
import { decideOffer } from "./offer-decision.ts";
import { inPreference } from "./preference.ts";

function outcome(wish: Wish, other: Partial<CheckedDevice> = {}, facts = nothingKnown): string {
  const decision = decideOffer({ ...device, ...other }, [compiled(wish)], facts);
  return decision.kind === "offer" ? "OFFER" : decision.reason;
}

describe("one rollout", () => {
  it.each([
    ["fits", {}, {}, "OFFER"],
    ["completed: still offers", { state: "COMPLETED" }, {}, "OFFER"],
    ["paused", { state: "PAUSED" }, {}, "ROLLOUT_PAUSED"],
    ["its key was revoked", { blocked: "revoked" }, {}, "ROLLOUT_PAUSED"],
    ["same version", {}, { firmwareVersion: "1.2.0" }, "UP_TO_DATE"],
    ["never a downgrade", {}, { firmwareVersion: "1.10.0" }, "UP_TO_DATE"],
    ["a pre-release of it is older", {}, { firmwareVersion: "1.2.0-rc.1" }, "OFFER"],
    ["no semantic version", { firmware: { minCurrentVersion: "" } }, { firmwareVersion: "factory" }, "OFFER"],
    ["no semantic version, but a minimum", {}, { firmwareVersion: "factory" }, "VERSION_UNKNOWN"],
    [
      "no semantic version, but a range",
      { firmware: { minCurrentVersion: "" }, targeting: { currentVersionRange: ">=1.0.0" } },
      { firmwareVersion: "2024.08.1" },
      "VERSION_UNKNOWN",
    ],
    ["of equal precedence", {}, { firmwareVersion: "v1.2.0+git.abc" }, "UP_TO_DATE"],
    [
      "a text that stands for it",
      { firmware: { reportedVersions: ["2024.08.1"] } },
      { firmwareVersion: "2024.08.1" },
      "UP_TO_DATE",
    ],
    ["version too old", {}, { firmwareVersion: "0.9.0" }, "VERSION_TOO_OLD"],
    ["in the version range", { targeting: { currentVersionRange: ">=1.1.0 <1.2.0" } }, {}, "OFFER"],
    ["out of the version range", { targeting: { currentVersionRange: "<1.1.0" } }, {}, "UP_TO_DATE"],
    ["another type", {}, { deviceType: "gateway" }, "UP_TO_DATE"],
    ["a type left out", { targeting: { deviceTypes: ["valve"] } }, {}, "UP_TO_DATE"],
    ["a model of the firmware", { firmware: { hardwareModels: ["t100"] } }, {}, "OFFER"],
    ["another model", { firmware: { hardwareModels: ["t200"] } }, {}, "UP_TO_DATE"],
    ["a model left out", { targeting: { hardwareModels: ["t200"] } }, {}, "UP_TO_DATE"],
    ["in the group", { targeting: { groups: ["field", "lab"] } }, {}, "OFFER"],
    ["not in the group", { targeting: { groups: ["field"] } }, {}, "UP_TO_DATE"],
    ["ring not open", { rings: [[10_000, "WAITING"]] }, {}, "RING_NOT_OPEN"],
    ["beyond the last ring", { rings: [[1, "OPEN"]] }, {}, "RING_NOT_OPEN"],
    ["ring passed: late devices get it", { rings: [[10_000, "PASSED"]] }, {}, "OFFER"],
    ["charge too low", {}, { batteryPercent: 29 }, "BATTERY_TOO_LOW"],
    ["charge too low, but on power", {}, { batteryPercent: 5, charging: true }, "OFFER"],
    ["charge unknown", {}, { batteryPercent: undefined, charging: undefined }, "OFFER"],
    [
      "charge unknown, which the policy asks for",
      { policy: { requireReadings: true } },
      { batteryPercent: undefined, charging: undefined },
      "BATTERY_UNKNOWN",
    ],
    [
      "charge unknown, but on power",
      { policy: { requireReadings: true } },
      { batteryPercent: undefined, charging: true },
      "OFFER",
    ],
    [
      "charge unknown, of which nothing is asked",
      { firmware: { minBatteryPercent: 0 }, policy: { requireReadings: true } },
      { batteryPercent: undefined, charging: undefined },
      "OFFER",
    ],
    ["storage unknown", {}, { storageFreeBytes: undefined }, "OFFER"],
    [
      "storage unknown, which the policy asks for",
      { policy: { requireReadings: true } },
      { storageFreeBytes: undefined },
      "STORAGE_UNKNOWN",
    ],
    ["storage too low", {}, { storageFreeBytes: 999 }, "STORAGE_TOO_LOW"],
    ["security counter above", {}, { securityCounter: 3 }, "SECURITY_COUNTER"],
    ["awaiting an approval", { state: "AWAITING_APPROVAL" }, {}, "NOT_STARTED"],
    ["scheduled", { state: "SCHEDULED" }, {}, "NOT_STARTED"],
    ["in an excluded group", { targeting: { excludedGroups: ["lab"] } }, {}, "UP_TO_DATE"],
    ["with the tag", { targeting: { tags: ["a", "b"] } }, { tags: ["b"] }, "OFFER"],
    ["without the tag", { targeting: { tags: ["a"] } }, {}, "UP_TO_DATE"],
    ["matches the filter", { targeting: { filter: "groups:lab" } }, {}, "OFFER"],
    ["does not match the filter", { targeting: { filter: "groups:field" } }, {}, "UP_TO_DATE"],
    ["pinned as excluded", {}, { updatePin: "excluded" }, "EXCLUDED"],
    ["in quarantine", {}, { standing: "quarantined" }, "QUARANTINED"],
    ["blocked", {}, { standing: "blocked" }, "BLOCKED"],
    ["pinned as canary", { rings: [[1, "OPEN"]] }, { updatePin: "canary" }, "OFFER"],
    ["in a canary group", { rings: [[1, "OPEN"]], targeting: { canaryGroups: ["lab"] } }, {}, "OFFER"],
    ["not in the share", { targeting: { percentBasisPoints: 1 } }, {}, "UP_TO_DATE"],
    [
      "size times the factor",
      { firmware: { sizeBytes: 6_700 }, policy: { storageFactor: 1.5 } },
      {},
      "STORAGE_TOO_LOW",
    ],
    ["no storage factor", { firmware: { sizeBytes: 20_000 }, policy: { storageFactor: 0 } }, {}, "OFFER"],
    [
      "too large for cellular",
      { firmware: { sizeBytes: 2 }, policy: { maxMeteredBytes: 1 } },
      { networkType: "CELLULAR" },
      "METERED_NETWORK",
    ],
    [
      "not on Wi-Fi",
      { firmware: { sizeBytes: 2 }, policy: { maxMeteredBytes: 1 } },
      { networkType: "WIFI" },
      "OFFER",
    ],
    ["no consent", { policy: { requireUserConsent: true } }, { userConsent: false }, "CONSENT_REQUIRED"],
    ["consent", { policy: { requireUserConsent: true } }, { userConsent: true }, "OFFER"],
    ["in the window", { policy: { maintenanceWindows: [window("11:00")] } }, {}, "OFFER"],
    [
      "out of the window",
      { policy: { maintenanceWindows: [window("13:00")] } },
      {},
      "OUTSIDE_MAINTENANCE_WINDOW",
    ],
    [
      "in the window where the device is",
      { policy: { maintenanceWindows: [window("13:00")] } },
      { metadata: { time_zone: "Europe/Berlin" } },
      "OFFER",
    ],
    [
      "a downgrade that is allowed",
      { policy: { allowDowngrade: true } },
      { firmwareVersion: "2.0.0" },
      "OFFER",
    ],
    [
      "allowed or not, never below the security counter",
      { policy: { allowDowngrade: true } },
      { firmwareVersion: "2.0.0", securityCounter: 3 },
      "SECURITY_COUNTER",
    ],
  ] as const)("%s", (_, wish, other, expected) => {
    expect(outcome(wish as Wish, other)).toBe(expected);
  });

  it("is not offered twice, nor to more devices at once than may", () => {
    expect(outcome({}, {}, { ...nothingKnown, wasTried: () => true })).toBe("ALREADY_TRIED");
    const busy = { ...nothingKnown, inProgress: () => 5 };
    expect(outcome({ policy: { maxInProgress: 5 } }, {}, busy)).toBe("TOO_MANY_IN_PROGRESS");
    expect(outcome({ policy: { maxInProgress: 6 } }, {}, busy)).toBe("OFFER");
  });

  it("says why in words with the numbers", () => {
    expect(decideOffer({ ...device, batteryPercent: 12 }, [compiled()], nothingKnown)).toMatchObject({
      message: "the charge is 12 %, 30 % or external power is needed",
    });
  });
});

describe("mandatory steps", () => {
  const steps = [step("1.1.5"), step("1.0.5"), step("1.2.0"), step("1.3.0")];
  const next = (firmwareVersion: string, wish: Wish = {}) => {
    const rollout = compiled({ steps, ...wish });
    const decision = decideOffer({ ...device, firmwareVersion }, [rollout], nothingKnown);
    return decision.kind === "offer" ? `${decision.action} ${decision.firmware.version}` : decision.reason;
  };

  it("come one after the other, in order, and only those in between", () => {
    expect(next("1.0.0")).toBe("STEP 1.0.5");
    expect(next("1.0.5")).toBe("STEP 1.1.5");
    expect(next("1.1.5")).toBe("INSTALL 1.2.0");
  });

  it("are not those of other models", () => {
    const others = [step("1.0.5", { hardwareModels: ["t200"] })];
    expect(next("1.0.0", { steps: others })).toBe("INSTALL 1.2.0");
  });

  it("bring a device up to what the target installs from", () => {
    expect(next("1.0.0", { firmware: { minCurrentVersion: "1.1.5" } })).toBe("STEP 1.0.5");
    expect(next("0.9.0")).toBe("VERSION_TOO_OLD");
  });

  it("stand in the way if they cannot be had", () => {
    expect(next("1.1.0", { steps: [step("1.1.5", {}, "1.1.5 was deleted")] })).toBe("STEP_MISSING");
  });
});

describe("applications", () => {
  const application = (wish: Wish = {}) =>
    compiled({
      ...wish,
      firmware: { kind: "APPLICATION", component: "nav", minCurrentVersion: "", ...wish.firmware },
    });

  it("are judged by their own version", () => {
    const chosen = (components: Record<string, string> | undefined) =>
      decideOffer({ ...device, firmwareVersion: "9.0.0", components }, [application()], nothingKnown);
    expect(chosen({ nav: "1.1.0" })).toMatchObject({ kind: "offer" });
    expect(chosen({ nav: "1.2.0" })).toMatchObject({ reason: "UP_TO_DATE" });
    expect(chosen({ other: "1.2.0" })).toMatchObject({ kind: "offer" });
    expect(chosen(undefined)).toMatchObject({ kind: "offer" });
  });

  it("go on while the firmware has to wait", () => {
    const waiting = compiled({ id: "b", firmware: { minBatteryPercent: 90 } });
    const decision = decideOffer(device, inPreference([waiting, application({ id: "a" })]), nothingKnown);
    expect(decision).toMatchObject({ kind: "offer", rollout: { component: "nav" } });
  });
});

describe("several rollouts", () => {
  const older = compiled({ id: "older", firmware: { version: "1.2.0" } });
  const newer = (wish: Wish = {}) =>
    compiled({ id: "newer", ...wish, firmware: { version: "1.3.0", ...wish.firmware } });
  const chosen = (rollouts: ReturnType<typeof compiled>[]) => {
    const decision = decideOffer(device, inPreference(rollouts), nothingKnown);
    return decision.kind === "offer" ? decision.rollout.id : decision.reason;
  };

  it("offers the newest version", () => {
    expect(chosen([older, newer()])).toBe("newer");
  });

  it("offers the older one while the newer is not open to the device", () => {
    expect(chosen([older, newer({ rings: [[10_000, "WAITING"]] })])).toBe("older");
  });

  it("offers the older one as a step to the newer", () => {
    expect(chosen([older, newer({ firmware: { minCurrentVersion: "1.2.0" } })])).toBe("older");
  });

  it("offers that of the highest priority, whatever its version", () => {
    const urgent = compiled({ id: "urgent", firmware: { version: "1.1.1" }, policy: { priority: 1 } });
    expect(chosen([older, newer(), urgent])).toBe("urgent");
  });

  it("keeps a device down that a newer rollout took down", () => {
    const down = compiled({
      id: "zz",
      firmware: { version: "1.1.0" },
      policy: { allowDowngrade: true },
    });
    // The device runs 1.1.0 by now: the rollouts from before must not undo that.
    expect(chosen([older, newer(), down])).toBe("UP_TO_DATE");
    const later = compiled({ id: "zzz", firmware: { version: "1.4.0" } });
    expect(chosen([older, newer(), down, later])).toBe("zzz");
  });

  it("waits for the newer one rather than install twice", () => {
    expect(chosen([older, newer({ firmware: { minBatteryPercent: 90 } })])).toBe("BATTERY_TOO_LOW");
  });
});

describe("the way out of a recall", () => {
  const wayOut = (wish: Wish = {}) =>
    compiled({
      id: "a",
      recalledVersion: "1.1.0",
      policy: { allowDowngrade: true, ...wish.policy },
      firmware: { version: "1.0.0", ...wish.firmware },
    });
  const newer = compiled({
    id: "z",
    firmware: { version: "1.3.0" },
    policy: { priority: 100, allowDowngrade: true },
  });
  const chosen = (rollouts: readonly CompiledRollout[], firmwareVersion = "1.1.0"): string => {
    const decision = decideOffer({ ...device, firmwareVersion }, inPreference(rollouts), nothingKnown);
    return decision.kind === "offer" ? decision.rollout.id : decision.reason;
  };

  it("goes before all rollouts for whoever runs the version, and concerns nobody else", () => {
    expect(chosen([newer, wayOut()])).toBe("a");
    expect(chosen([newer, wayOut()], "v1.1.0+git.abc")).toBe("a");
    expect(chosen([newer, wayOut()], "1.2.0")).toBe("z");
    expect(chosen([wayOut()], "1.2.0")).toBe("UP_TO_DATE");
    expect(chosen([wayOut()], "factory")).toBe("UP_TO_DATE");
    expect(chosen([wayOut()], "")).toBe("UP_TO_DATE");
  });

  it("knows the version by every text that stands for it, and a text that nothing explains by itself", () => {
    const reported = new ReportedVersions([{ version: "1.1.0", reportedVersions: ["34105904"] }]);
    const named = { ...wayOut(), reported };
    expect(chosen([named], "34105904")).toBe("a");
    const plain = wayOut({ firmware: { minCurrentVersion: "" } });
    const factory = { ...plain, rollout: { ...plain.rollout, recalledVersion: "2024.08.1" } };
    expect(chosen([factory], "2024.08.1")).toBe("a");
    expect(chosen([factory], "2024.8.1")).toBe("UP_TO_DATE");
  });

  it("keeps a device from others while it waits for it, and leaves it to them where it cannot serve it", () => {
    expect(chosen([newer, wayOut({ firmware: { minBatteryPercent: 90 } })])).toBe("BATTERY_TOO_LOW");
    expect(chosen([newer, wayOut({ firmware: { securityCounter: 1 } })])).toBe("z");
    expect(chosen([newer, wayOut({ firmware: { minCurrentVersion: "1.1.1" } })])).toBe("z");
  });

  it("takes the place of an update that a device has not begun to install", () => {
    const open = {
      action: "INSTALL",
      taken: false,
      state: "DOWNLOADED",
      component: "",
      toVersion: "1.3.0",
    } as OpenUpdate;
    expect(givesWay(open, newer.rollout, wayOut())).toBe(true);
    expect(givesWay({ ...open, toVersion: "1.0.0" }, wayOut().rollout, newer)).toBe(false);
    expect(givesWay({ ...open, taken: true }, newer.rollout, wayOut())).toBe(false);
  });
});

describe("whatever a device reports", () => {
  it("it is never offered the same or an older version, and its ring decides", () => {
    const rings: [number, RingState][] = [
      [2_500, "OPEN"],
      [10_000, "WAITING"],
    ];
    const rollout = compiled({ rings, firmware: { minCurrentVersion: "" } });
    const part = fc.nat(3);
    fc.assert(
      fc.property(fc.uuid(), part, part, part, (id, major, minor, patch) => {
        const firmwareVersion = `${major}.${minor}.${patch}`;
        const { kind } = decideOffer({ ...device, id, firmwareVersion }, [rollout], nothingKnown);
        const isOlder = major < 1 || (major === 1 && minor < 2);
        expect(kind === "offer").toBe(isOlder && placeOf(rollout.id, id) < 2_500);
      }),
    );
  });

  it("keeps few versions in memory", () => {
    const rollout = compiled();
    for (let at = 0; at < 10_000; at++) versionFacts(rollout, `0.0.${at}`);
    expect(rollout.versions.size).toBeLessThanOrEqual(256);
  });
});

describe("pace", () => {
  it("keeps the device until an offer may be made", () => {
    const rollout = compiled({ policy: { offersPerMinute: 10 } });
    const until = noonMs + 5_000;
    const decision = decideOffer(device, [rollout], { ...nothingKnown, pacedUntilMs: () => until });
    expect(decision).toMatchObject({ reason: "PACED", untilMs: until });
  });
});

function window(start: string) {
  return { weekdays: [], start, durationMs: 2 * 3_600_000, timeZone: "" };
}
