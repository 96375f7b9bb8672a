import type { Firmware } from "../../firmware/firmware.ts";
import { ringIndex } from "../model/ring-place.ts";
import type { Ring } from "../model/rollout.ts";
import { allRules } from "../rules/all-rules.ts";
import type { CompiledRollout, OfferFirmware } from "../rules/compiled-rollout.ts";
import { nextFirmware } from "../rules/progress-rules.ts";
import {
  batteryWords,
  isChargeTooLow,
  isStorageTooLow,
  storageWords,
  zoneOf,
} from "../rules/readiness-rules.ts";
import type { CheckedDevice, NoOfferReason, OfferFacts, Rule } from "../rules/rule.ts";

/** What is found for a device: an update to offer, or why there is none. */
export type OfferDecision = OfferFound | NoOffer;

/** An update to offer. */
export interface OfferFound {
  readonly kind: "offer";
  readonly rollout: CompiledRollout;
  readonly ring: Ring;
  /** What to install: the rollout's firmware, or a mandatory step on the way to it. */
  readonly firmware: Firmware;
  readonly action: "INSTALL" | "STEP";
}

/** There is no offer. */
export interface NoOffer {
  readonly kind: "none";
  readonly reason: NoOfferReason;
  /** In words. */
  readonly message: string;
  /** The rollout that the reason is about. */
  readonly rolloutId?: string | undefined;
  /** When the reason passes, as far as that is known, in milliseconds since 1970. */
  readonly untilMs?: number | undefined;
}

/**
 * Decides what a device without an open update is offered. Pure but for `facts`, and free of parsing: a check that finds
 * nothing costs some map lookups a rollout, and words are made for the one reason that is given.
 *
 * Rollouts come in the order of preference. One that does not want the device, or cannot serve it (ring, pause, tried
 * before, version too old, security counter), leaves it to the next one; if none has anything, the first reason met is
 * given. One that wants it but must wait for it (battery, storage, window, pace and so on) keeps it from what would update
 * the same: another version in between would only be undone. Other components go on.
 */
export function decideOffer(
  device: CheckedDevice,
  rollouts: readonly CompiledRollout[],
  facts: OfferFacts,
): OfferDecision {
  const found = chooseRollout(device, rollouts, facts);
  if (found === undefined) return upToDate;
  const { rollout, rule, reason } = found;
  return rule === undefined || reason === undefined
    ? offerOf(rollout, device)
    : noOffer(rollout, device, facts, rule, reason);
}

/** The rollout that decides over a device, and the rule that stands against it, if one does. */
export interface Choice {
  readonly rollout: CompiledRollout;
  readonly rule: Rule | undefined;
  readonly reason: NoOfferReason | undefined;
}

/** See {@link decideOffer}; undefined if no rollout has anything to say to the device. */
export function chooseRollout(
  device: CheckedDevice,
  rollouts: readonly CompiledRollout[],
  facts: OfferFacts,
): Choice | undefined {
  let first: Choice | undefined;
  let waiting: Choice | undefined;
  let kept: Set<string> | undefined;
  for (const rollout of rollouts) {
    if (kept?.has(rollout.component) === true) continue;
    const against = standsAgainst(rollout, device, facts);
    if (against === undefined) return { rollout, rule: undefined, reason: undefined };
    const { rule, reason } = against;
    if (silent.has(reason)) continue;
    if (keeps.has(reason)) {
      kept ??= new Set();
      kept.add(rollout.component);
      waiting ??= { rollout, rule, reason };
    } else first ??= { rollout, rule, reason };
  }
  return waiting ?? first;
}

/** The first rule of a rollout that a device does not pass, with its reason. */
function standsAgainst(
  rollout: CompiledRollout,
  device: CheckedDevice,
  facts: OfferFacts,
): { readonly rule: Rule; readonly reason: NoOfferReason } | undefined {
  for (const rule of allRules) {
    const reason = rule.judge(rollout, device, facts);
    if (reason !== undefined) return { rule, reason };
  }
  return undefined;
}

/**
 * Why a device should not install a firmware now: its charge (unless external power is connected) or its free storage.
 * A reading that the device never gave stands against nothing; the device checks again itself.
 */
export function unmetPrecondition(
  firmware: Pick<Firmware, "minBatteryPercent" | "minFreeStorageBytes">,
  device: CheckedDevice,
): NoOffer | undefined {
  if (isChargeTooLow(firmware, device)) {
    return none("BATTERY_TOO_LOW", batteryWords(firmware, device, true).message);
  }
  const { minFreeStorageBytes } = firmware;
  return isStorageTooLow(minFreeStorageBytes, device)
    ? none("STORAGE_TOO_LOW", storageWords(minFreeStorageBytes, device, true).message)
    : undefined;
}

/** There is no offer, for this reason. */
export function none(reason: NoOfferReason, message: string, untilMs?: number): NoOffer {
  return { kind: "none", reason, message, untilMs };
}

/** As many devices as may are at the update. */
export function tooManyInProgress(limit: number, { rolloutId }: { readonly rolloutId: string }): NoOffer {
  const message = `${limit} devices are at the update, which is as many as may`;
  return { kind: "none", reason: "TOO_MANY_IN_PROGRESS", message, rolloutId };
}

const silent: ReadonlySet<NoOfferReason> = new Set(["NOT_TARGETED", "UP_TO_DATE", "DOWNGRADE", "OUTRANKED"]);

const keeps: ReadonlySet<NoOfferReason> = new Set([
  "BATTERY_TOO_LOW",
  "STORAGE_TOO_LOW",
  "BATTERY_UNKNOWN",
  "STORAGE_UNKNOWN",
  "METERED_NETWORK",
  "OUTSIDE_MAINTENANCE_WINDOW",
  "CONSENT_REQUIRED",
  "TOO_MANY_IN_PROGRESS",
  "PACED",
]);

const upToDate = none("UP_TO_DATE", "no rollout has anything newer for this device");

function offerOf(rollout: CompiledRollout, device: CheckedDevice): OfferDecision {
  const ring = rollout.rings[ringIndex(rollout, device)];
  // The rule of the ring held.
  if (ring === undefined) return upToDate;
  const next: OfferFirmware = nextFirmware(rollout, device);
  return {
    kind: "offer",
    rollout,
    ring,
    firmware: next.firmware,
    action: next === rollout ? "INSTALL" : "STEP",
  };
}

function noOffer(
  rollout: CompiledRollout,
  device: CheckedDevice,
  facts: OfferFacts,
  rule: Rule,
  reason: NoOfferReason,
): NoOffer {
  return {
    kind: "none",
    reason,
    message: rule.words(rollout, device, facts, reason).message,
    rolloutId: rollout.id,
    untilMs: untilMs(rollout, device, facts, reason),
  };
}

function untilMs(
  rollout: CompiledRollout,
  device: CheckedDevice,
  facts: OfferFacts,
  reason: NoOfferReason,
): number | undefined {
  const { startAt } = rollout.rollout.policy;
  switch (reason) {
    case "OUTSIDE_MAINTENANCE_WINDOW":
      return rollout.windows.at(facts.nowMs(), zoneOf(device)).changesAtMs;
    case "PACED":
      return facts.pacedUntilMs(rollout.id);
    case "NOT_STARTED":
      return startAt === null ? undefined : Date.parse(startAt);
    default:
      return undefined;
  }
}
