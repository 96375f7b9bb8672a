import { compareVersions } from "../../version/compare-versions.ts";
import { rankOf } from "../model/rollout.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";

/**
 * Puts rollouts in the order in which a device takes them: ways out of recalls, then by priority; among equals, firmware and each application by its
 * newest rollout; and of what updates the same, the newest version first, then the newest rollout. Also sets what goes
 * before each of them whatever the version: see {@link CompiledRollout.outrankedBy}.
 */
export function inPreference(rollouts: readonly CompiledRollout[]): CompiledRollout[] {
  const sorted = ordered(rollouts);
  for (const rollout of sorted) rollout.outrankedBy = sorted.filter((other) => outranks(other, rollout));
  return sorted;
}

/** Those of other rollouts that go before this one for a device that is in both. */
export function thoseBefore(rollout: CompiledRollout, others: readonly CompiledRollout[]): CompiledRollout[] {
  const sorted = ordered([...others, rollout]);
  const at = sorted.indexOf(rollout);
  return sorted.filter((other, position) => position < at || outranks(other, rollout));
}

function ordered(rollouts: readonly CompiledRollout[]): CompiledRollout[] {
  const newest = new Map<string, string>();
  for (const rollout of rollouts) {
    const key = groupOf(rollout);
    if (rollout.id > (newest.get(key) ?? "")) newest.set(key, rollout.id);
  }
  return [...rollouts].sort(
    (a, b) =>
      rankOf(b.rollout) - rankOf(a.rollout) ||
      compareText(newest.get(groupOf(b)) ?? "", newest.get(groupOf(a)) ?? "") ||
      compareVersions(b.firmware.version, a.firmware.version) ||
      compareText(b.id, a.id),
  );
}

function groupOf(rollout: CompiledRollout): string {
  return `${rankOf(rollout.rollout)}:${rollout.component}`;
}

/**
 * Where a rollout may take devices to an older version, versions cannot tell which of two rollouts is meant to hold: the
 * higher priority does, then the newer rollout. Otherwise each would undo what the other did. The way out of a recall leaves
 * devices to others that it cannot serve: whatever these bring, it is not what was recalled.
 */
function outranks(other: CompiledRollout, rollout: CompiledRollout): boolean {
  if (other === rollout || other.component !== rollout.component) return false;
  if (other.rollout.recalledVersion !== undefined) return false;
  if (!other.rollout.policy.allowDowngrade && !rollout.rollout.policy.allowDowngrade) return false;
  const byPriority = rankOf(other.rollout) - rankOf(rollout.rollout);
  return byPriority > 0 || (byPriority === 0 && other.id > rollout.id);
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
