import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compiled, device, noonMs, nothingKnown, step } from "../../../test/rollout/compiled-fixture.ts";
import type { RingState } from "../model/deployment-ring.entity.ts";
import type { RolloutState } from "../model/rollout.entity.ts";
import { decideOffer } from "../offer/offer-decision.ts";
import { inPreference } from "../offer/preference.ts";
import { allRules } from "../rules/all-rules.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";
import { ProductBook } from "../rules/product-book.ts";
import type { CheckedDevice, OfferFacts } from "../rules/rule.ts";
import { explainRollout } from "./explain.ts";

const version = fc.constantFrom("1.0.0", "1.1.0", "1.2.0", "1.3.0", "2.0.0", "factory");

const rolloutWish = fc.record({
  state: fc.constantFrom<RolloutState>("RUNNING", "RUNNING", "COMPLETED", "COMPLETED", "PAUSED", "SCHEDULED"),
  version: fc.constantFrom("1.1.0", "1.2.0", "1.3.0"),
  minCurrentVersion: fc.constantFrom("", "1.1.0"),
  component: fc.constantFrom("", "nav"),
  ring: fc.constantFrom<RingState>("OPEN", "OPEN", "WAITING", "PASSED"),
  priority: fc.integer({ min: -1, max: 1 }),
  allowDowngrade: fc.boolean(),
  groups: fc.constantFrom<string[][]>([], ["lab"], ["field"]),
  percentBasisPoints: fc.constantFrom(10_000, 5_000),
  maxInProgress: fc.constantFrom(null, 3),
  requireUserConsent: fc.boolean(),
  requireReadings: fc.boolean(),
  maxMeteredBytes: fc.constantFrom(null, 0),
  product: fc.constantFrom("os", "os", "boot"),
  hardwareModels: fc.constantFrom<string[][]>([], [], [], ["t100"], ["rev b"]),
  currentVersionRange: fc.constantFrom("", "", "<1.2.0"),
  filter: fc.constantFrom("", "", "", "battery_percent > 50", 'hardware_model = "rev b"', "product:*"),
  excludedGroups: fc.constantFrom<string[][]>([], [], ["lab"]),
  window: fc.constantFrom(undefined, undefined, "20:00", "11:30"),
  step: fc.constantFrom("none", "there", "missing"),
  blocked: fc.constantFrom(undefined, undefined, "a key was revoked"),
});

const checked = fc.record({
  id: fc.uuid(),
  firmwareVersion: version,
  components: fc.constantFrom(undefined, { nav: "1.0.0" }, { nav: "1.3.0" }),
  groups: fc.constantFrom<string[][]>([], ["lab"], ["field"]),
  updatePin: fc.constantFrom<CheckedDevice["updatePin"][]>("none", "none", "canary", "excluded"),
  standing: fc.constantFrom<CheckedDevice["standing"][]>(
    ...Array.from({ length: 18 }, () => "admitted" as const),
    "quarantined",
    "blocked",
  ),
  batteryPercent: fc.constantFrom(undefined, 10, 80),
  charging: fc.constantFrom(undefined, true),
  storageFreeBytes: fc.constantFrom(undefined, 10, 10_000),
  networkType: fc.constantFrom<CheckedDevice["networkType"][]>(undefined, "WIFI", "CELLULAR"),
  hardwareModel: fc.constantFrom("t100", "rev b", "rev c"),
  product: fc.constantFrom("", "os", "boot"),
  metadata: fc.constantFrom<Record<string, string>[]>(
    {},
    { time_zone: "Asia/Tokyo" },
    { time_zone: "Nowhere" },
  ),
  securityCounter: fc.constantFrom(2, 3),
  userConsent: fc.constantFrom(undefined, true),
});

const world = fc.record({
  rollouts: fc.array(rolloutWish, { minLength: 1, maxLength: 5 }),
  device: checked,
  inProgress: fc.constantFrom(0, 5),
  tried: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 2 }),
  paced: fc.boolean(),
});

type World = typeof world extends fc.Arbitrary<infer T> ? T : never;

/** Two products of the same devices; the version 1.2.0 is one of both, 1.3.0 one of neither. */
const products = new ProductBook(
  [
    ["os", "1.0.0"],
    ["os", "1.1.0"],
    ["os", "1.2.0"],
    ["boot", "1.2.0"],
    ["boot", "2.0.0"],
  ].map(([product = "", version = ""]) => ({
    product,
    version,
    reportedVersions: [],
    deviceTypes: ["thermostat"],
    hardwareModels: [],
    released: true,
  })),
);

/** `recalledVersion` makes the first rollout the way out of that. */
function build({ rollouts, device: other, inProgress, tried, paced }: World, recalledVersion?: string) {
  const all = rollouts.map((wish, at) =>
    compiled({
      id: `rollout-${at}`,
      products,
      state: wish.state,
      rings: [[10_000, wish.ring]],
      firmware: {
        version: wish.version,
        minCurrentVersion: wish.minCurrentVersion,
        component: wish.component,
        product: wish.product,
        hardwareModels: wish.hardwareModels,
        kind: wish.component === "" ? "FIRMWARE" : "APPLICATION",
      },
      targeting: {
        groups: wish.groups,
        excludedGroups: wish.excludedGroups,
        percentBasisPoints: wish.percentBasisPoints,
        currentVersionRange: wish.currentVersionRange,
        filter: wish.filter,
      },
      policy: {
        priority: wish.priority,
        allowDowngrade: wish.allowDowngrade,
        maxInProgress: wish.maxInProgress,
        requireUserConsent: wish.requireUserConsent,
        requireReadings: wish.requireReadings,
        maxMeteredBytes: wish.maxMeteredBytes,
        offersPerMinute: paced ? 1 : null,
        maintenanceWindows:
          wish.window === undefined
            ? []
            : [{ weekdays: [], start: wish.window, durationMs: 3_600_000, timeZone: "" }],
      },
      steps:
        wish.step === "none"
          ? []
          : [
              step(
                "1.0.5",
                { minCurrentVersion: "" },
                wish.step === "missing" ? "1.0.5 was deleted" : undefined,
              ),
            ],
      ...(wish.blocked === undefined ? {} : { blocked: wish.blocked }),
      ...(recalledVersion === undefined || at > 0 ? {} : { recalledVersion }),
    }),
  );
  const facts: OfferFacts = {
    ...nothingKnown,
    nowMs: () => noonMs,
    inProgress: () => inProgress,
    pacedUntilMs: () => (paced ? noonMs + 1 : 0),
    wasTried: (id) => tried.some((at) => id === `rollout-${at}`),
  };
  return { all: inPreference(all), device: { ...device, ...other }, facts };
}

function explain(
  rollout: CompiledRollout,
  { all, device: asked, facts }: { all: CompiledRollout[]; device: CheckedDevice; facts: OfferFacts },
) {
  return explainRollout(rollout, asked, all, facts);
}

const everyOutcome: readonly string[] = [
  "ALREADY_TRIED",
  "BATTERY_TOO_LOW",
  "BATTERY_UNKNOWN",
  "BLOCKED",
  "CONSENT_REQUIRED",
  "EXCLUDED",
  "METERED_NETWORK",
  "NOT_STARTED",
  "OFFER",
  "OUTSIDE_MAINTENANCE_WINDOW",
  "PACED",
  "PRODUCT_UNKNOWN",
  "QUARANTINED",
  "RING_NOT_OPEN",
  "ROLLOUT_PAUSED",
  "SECURITY_COUNTER",
  "STEP_MISSING",
  "STORAGE_TOO_LOW",
  "STORAGE_UNKNOWN",
  "TOO_MANY_IN_PROGRESS",
  "UP_TO_DATE",
  "VERSION_TOO_OLD",
  "VERSION_UNKNOWN",
];

/** What is decided, once the explanations of all rollouts are found to agree with it. */
function agreedDecision(built: ReturnType<typeof build>) {
  const decision = decideOffer(built.device, built.all, built.facts);
  const agreed: boolean[] = [];
  for (const rollout of built.all) {
    const { reason } = explain(rollout, built);
    const chosen = decision.kind === "offer" && decision.rollout === rollout;
    const said = decision.kind === "none" && decision.rolloutId === rollout.id;
    agreed.push((reason === undefined) === chosen && (!said || reason === decision.reason));
  }
  expect(agreed).not.toContain(false);
  return decision;
}

describe("an explanation", () => {
  it("never disagrees with the decision", () => {
    const told = new Set<string>();
    fc.assert(
      fc.property(world, (wish) => {
        const decision = agreedDecision(build(wish));
        told.add(decision.kind === "offer" ? "OFFER" : decision.reason);
      }),
      { numRuns: 2_000, seed: 12 },
    );
    // What the worlds above can lead to, all of it was met.
    expect([...told].toSorted()).toEqual(everyOutcome);
  });

  it("agrees with it also where one of the rollouts is the way out of a recall", () => {
    const recalled = fc.constantFrom("1.1.0", "factory");
    const told = new Set<string>();
    fc.assert(
      fc.property(world, recalled, (wish, version) => {
        const decision = agreedDecision(build(wish, version));
        told.add(decision.kind);
      }),
      { numRuns: 500 },
    );
    expect(told).toContain("none");
  });

  it("lists every rule, and gives the first that fails as the reason", () => {
    fc.assert(
      fc.property(world, (wish) => {
        const built = build(wish);
        for (const rollout of built.all) {
          const { reason, message, rules } = explain(rollout, built);
          expect(rules.map(({ name }) => name)).toEqual(allRules.map(({ name }) => name));
          const failing = rules.find(({ holds }) => !holds);
          expect(reason === undefined).toBe(failing === undefined);
          expect(failing?.message ?? message).toBe(message);
          const wordless = rules.filter((rule) => [rule.required, rule.actual, rule.message].includes(""));
          expect(wordless).toEqual([]);
        }
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ["Europe/Berlin", "time zone Europe/Berlin"],
    ["Europe/Berlim", 'time zone Asia/Tokyo: the device\'s metadata says "Europe/Berlim", which is none'],
    [undefined, "time zone Asia/Tokyo"],
  ])("names the time zone that was used where the device says %s", (time_zone, told) => {
    const timeZone = "Asia/Tokyo";
    const rollout = compiled({
      policy: { maintenanceWindows: [{ weekdays: [], start: "20:00", durationMs: 3_600_000, timeZone }] },
    });
    const asked = { ...device, metadata: time_zone === undefined ? {} : { time_zone } };
    const { rules } = explain(rollout, { all: [rollout], device: asked, facts: nothingKnown });
    expect(rules.find(({ name }) => name === "maintenance_windows")?.actual).toBe(
      `2026-03-02T12:00:00.000Z, ${told}`,
    );
  });

  it("says what is required and what is, with the numbers", () => {
    const built = { all: [compiled()], device: { ...device, batteryPercent: 18 }, facts: nothingKnown };
    const [rollout] = built.all;
    if (rollout === undefined) throw new Error("no rollout");
    const { reason, rules } = explain(rollout, built);
    expect(reason).toBe("BATTERY_TOO_LOW");
    expect(rules.find(({ name }) => name === "min_battery_percent")).toMatchObject({
      holds: false,
      required: "at least 30 %, or charging",
      actual: "18 %, not charging",
    });
  });
});
