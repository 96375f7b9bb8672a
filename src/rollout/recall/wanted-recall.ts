import { invalidArgument } from "../../errors.ts";
import type { Firmware } from "../../firmware/firmware.ts";
import type { FirmwareCatalog } from "../../firmware/firmware-catalog.ts";
import type { NewPolicy, NewRollout } from "../model/new-rollout.ts";
import type { StoredPolicy } from "../model/rollout.entity.ts";
import type { RolloutTransaction } from "../model/rollout-transactions.ts";
import { assertReplaces, type NamedVersion, readVersion, type VersionName } from "./recalled-version.ts";

/** A version to be recalled, and what is to take its place. */
export interface WantedRecall {
  readonly name: VersionName;
  readonly replacementId: string;
  /** How devices take the replacement; priority, downgrades, drift and the way back are given by the recall. */
  readonly policy: NewPolicy;
}

/**
 * What is wanted, checked: the version, and the replacement with its row locked. Errors as of `RecallCatalog.recall`.
 */
export async function checkedRecall(
  tx: Pick<RolloutTransaction, "em" | "query" | "run">,
  firmware: Pick<FirmwareCatalog, "requireDeployable">,
  { name, replacementId, policy }: WantedRecall,
  actor: string,
): Promise<{ readonly version: NamedVersion; readonly replacement: Firmware }> {
  if (policy.startAt !== undefined && policy.startAt !== null) {
    throw invalidArgument("policy.start_time", "must not be set: a recall begins at once");
  }
  const version = await readVersion(tx, name);
  const replacement = await firmware.requireDeployable(replacementId, { actor, em: tx.em });
  assertReplaces(replacement, version);
  return { version, replacement };
}

/** The rollout that leads away from a recalled version: of one ring, for whoever runs it, in whichever direction. */
export function wayOut(
  recall: { readonly id: string; readonly version: string },
  replacement: Pick<Firmware, "id" | "product" | "version">,
  policy: NewPolicy,
): NewRollout {
  return {
    firmwareId: replacement.id,
    name: `${replacement.product} ${recall.version} recalled, to ${replacement.version}`,
    targeting: {},
    policy: { ...policy, ...givenByRecall },
    rings: [{ name: "all", percent: 100, gate: { manual: true } }],
    recall,
  };
}

/** A stored policy as it could be given again: without the time of its start, for that has come. */
export function givenPolicy(policy: Readonly<StoredPolicy>): NewPolicy {
  const given = Object.entries(policy).filter(([name, value]) => value !== null && name !== "startAt");
  return Object.fromEntries(given) as NewPolicy;
}

/** What of a policy is no matter of the operator's. Priorities go up to 100; ways out go before all of them. */
export const givenByRecall = {
  allowDowngrade: true,
  priority: 100,
  healDrift: 0,
  rollbackFirmwareId: undefined,
} satisfies NewPolicy;
