import { compareVersions } from "../../version/compare-versions.ts";
import { isTaken } from "../model/device-update-state.ts";
import type { OpenUpdate } from "../model/open-update.ts";
import { type Rollout, rankOf } from "../model/rollout.ts";
import type { CompiledRollout } from "./compiled-rollout.ts";

/**
 * Whether the open update of a device gives way to a rollout that asks for the device: of strictly higher priority than the
 * one that the update is `of`, of the same firmware or application, and with a version that would follow the update's own.
 * So what it was at would be for nothing, and nothing gives way in a circle.
 *
 * What has begun to install goes on, and so do rollbacks, mandatory steps, which come first whatever follows, and the
 * updates of a rollout that offers nothing any more.
 */
export function givesWay(
  open: Readonly<OpenUpdate>,
  of: Rollout | undefined,
  { rollout, component, firmware }: CompiledRollout,
): boolean {
  if (open.action !== "INSTALL" || open.taken || isTaken(open.state)) return false;
  if (of === undefined || rankOf(rollout) <= rankOf(of)) return false;
  if (component !== open.component) return false;
  const order = compareVersions(firmware.version, open.toVersion);
  return order > 0 || (order < 0 && rollout.policy.allowDowngrade);
}
