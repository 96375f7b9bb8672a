import { isReinstall, isWaitingTry, type OpenUpdate, runsTarget } from "../model/open-update.ts";
import { versionOf } from "../model/version-of.ts";
import type { CompiledRollout, OfferFirmware } from "../rules/compiled-rollout.ts";
import { isMadeFor } from "../rules/progress-rules.ts";
import type { CheckedDevice, OfferFacts } from "../rules/rule.ts";
import { type NoOffer, none, tooManyInProgress, unmetPrecondition } from "./offer-decision.ts";

/** What a device hears of its open update. */
export type OpenUpdateDecision =
  /** It is given it, again or for the first time. */
  | { readonly kind: "give"; readonly firmware: OfferFirmware }
  /** It runs what it is meant to run, and must not install it again: its heartbeats do the rest. */
  | { readonly kind: "installed" }
  | NoOffer;

/** An open update, with what it brings. */
export interface OpenUpdateCase {
  readonly update: Readonly<OpenUpdate>;
  /** Undefined if the catalogue has forgotten it. */
  readonly firmware: OfferFirmware | undefined;
  /** Undefined if the rollout is over. */
  readonly rollout: CompiledRollout | undefined;
}

/** Decides what a device with an open update hears: for update checks, and for explanations of them. */
export function decideOpenUpdate(
  { update, firmware, rollout }: OpenUpdateCase,
  device: CheckedDevice,
  facts: Pick<OfferFacts, "nowMs" | "inProgress">,
): OpenUpdateDecision {
  if (update.state === "VERIFYING" || isAtTarget(update, device)) return { kind: "installed" };
  const { notBeforeMs } = update;
  if (notBeforeMs !== undefined && notBeforeMs > facts.nowMs()) {
    const at = new Date(notBeforeMs).toISOString();
    return none("BACKING_OFF", `the last try failed; the next one may begin at ${at}`, notBeforeMs);
  }
  if (firmware === undefined) return none("UP_TO_DATE", "the firmware of the open update is gone");
  if (firmware.blocked !== undefined) return none("ROLLOUT_PAUSED", firmware.blocked);
  if (!isMadeFor(firmware.firmware, device)) {
    return none("UP_TO_DATE", "the open update is for another type or model, and is being cancelled");
  }
  const limit = rollout?.rollout.policy.maxInProgress ?? Number.POSITIVE_INFINITY;
  if (isWaitingTry(update) && facts.inProgress(update.rolloutId) >= limit)
    return tooManyInProgress(limit, update);
  // An install was offered when all fitted, and the device checks again. A rollback is made without a check.
  const unmet = update.action === "ROLLBACK" ? unmetPrecondition(firmware.firmware, device) : undefined;
  return unmet ?? { kind: "give", firmware };
}

function isAtTarget(update: Readonly<OpenUpdate>, device: CheckedDevice): boolean {
  if (!runsTarget(update, versionOf(device, update.component))) return false;
  if (isReinstall(update) && !update.taken) return false;
  // An application counts without a reboot.
  if (update.component !== "" || update.fromBootId === "") return true;
  return device.bootId !== update.fromBootId;
}
