import { downgradeFrom } from "../../firmware/downgrade-from.ts";
import { compareVersions } from "../../version/compare-versions.ts";
import { isSemanticVersion } from "../../version/semantic-version.ts";
import { devicesText } from "../model/devices-text.ts";
import type { RolloutWarning } from "../model/foresight.ts";
import type { WaitingKind } from "../preview/waiting-devices.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";

/**
 * Waiting devices that run a newer version, and take an older one only if they ran it before: no word of the service moves them, but a
 * signed one would. What they ran before they know better than the service, so the count is the most that it may be.
 */
export function downgradeWarnings(
  { firmware, rollout }: CompiledRollout,
  kinds: readonly WaitingKind[],
): RolloutWarning[] {
  if (!rollout.policy.allowDowngrade) return [];
  const allowed = downgradeFrom(firmware);
  const isRefused = ({ version }: WaitingKind): boolean =>
    isSemanticVersion(version) &&
    compareVersions(firmware.version, version) < 0 &&
    (allowed === "" || compareVersions(version, allowed) > 0);
  const refused = kinds.filter(isRefused);
  const count = refused.reduce((sum, kind) => sum + kind.count, 0);
  if (count === 0) return [];
  const newest = refused.map(({ version }) => version).reduce((a, b) => (compareVersions(a, b) < 0 ? b : a));
  const message = `${devicesText(count)} on a newer version will refuse ${firmware.version} unless they ran it before: its manifest would have to be signed with downgrade_from ${newest}`;
  return [{ code: "DOWNGRADE_REFUSED", message, count, subject: newest, remedies: [] }];
}
