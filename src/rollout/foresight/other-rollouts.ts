import { devicesText } from "../model/devices-text.ts";
import type { RolloutWarning } from "../model/foresight.ts";
import { thoseBefore } from "../offer/preference.ts";
import type { WaitingKind } from "../preview/waiting-devices.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";
import { versionFacts } from "../rules/version-facts.ts";

/**
 * Other rollouts that devices take first, with how many waiting devices that may be at most: by type, model and version, for
 * whom else the other one targets is not looked at.
 */
export function otherRolloutWarnings(
  rollout: CompiledRollout,
  others: readonly CompiledRollout[],
  kinds: readonly WaitingKind[],
): RolloutWarning[] {
  const active = others.filter(
    ({ id, offers, blocked }) => id !== rollout.id && offers && blocked === undefined,
  );
  return thoseBefore(rollout, active).flatMap((other) => {
    const count = kinds.reduce((sum, kind) => (wants(other, rollout, kind) ? sum + kind.count : sum), 0);
    if (count === 0) return [];
    const { name, product, version, policy, recalledVersion } = other.rollout;
    const effect =
      other.component !== rollout.component
        ? "that one is taken first"
        : "that one is taken, and this one may never be needed";
    return [
      {
        code: "OTHER_ROLLOUT_FIRST" as const,
        message: `up to ${devicesText(count)} may be in rollout ${name} (${product} ${version}, priority ${policy.priority}) as well, which goes before this one: ${effect}`,
        count,
        subject: other.id,
        // Nothing goes before the way out of a recall.
        remedies:
          recalledVersion !== undefined
            ? []
            : [
                {
                  action: "ABORT" as const,
                  message: `an operator can abort rollout ${name}, or give this one a higher priority`,
                  rolloutId: other.id,
                },
              ],
      },
    ];
  });
}

function wants(
  other: CompiledRollout,
  rollout: CompiledRollout,
  { deviceType, hardwareModel, version }: WaitingKind,
): boolean {
  if (!other.deviceTypes.has(deviceType)) return false;
  if (other.hardwareModels !== undefined && !other.hardwareModels.has(hardwareModel)) return false;
  // Which version of another application they have is not known here.
  if (other.component !== rollout.component) return true;
  if (rollout.component === "" && other.firmware.product !== rollout.firmware.product) return false;
  const { inRange, order } = versionFacts(other, version);
  return inRange && (order < 0 || (order > 0 && other.rollout.policy.allowDowngrade));
}
