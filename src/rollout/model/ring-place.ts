import { placeOf, ringOf, sampleOf } from "./bucket.ts";
import type { StoredTargeting } from "./rollout.entity.ts";
import type { Ring } from "./rollout.ts";

/** Of a rollout, what decides where its devices are. */
export interface RingPlan {
  readonly salt: string;
  readonly rings: readonly Ring[];
  readonly percentBasisPoints: number;
  /** Undefined: none. */
  readonly canaryGroups: ReadonlySet<string> | undefined;
}

/** Of a device, what decides where it is. */
export interface PlacedDevice {
  readonly id: string;
  readonly groups: readonly string[];
  readonly updatePin: "none" | "canary" | "excluded";
}

/** Whether a device is always in the first ring: by its own pin, or by one of its groups. */
export function isPinnedCanary({ canaryGroups }: RingPlan, { groups, updatePin }: PlacedDevice): boolean {
  if (updatePin === "canary") return true;
  return canaryGroups !== undefined && groups.some((group) => canaryGroups.has(group));
}

/** The index of the ring of a device; -1 if it lies beyond the last one. */
export function ringIndex(plan: RingPlan, device: PlacedDevice): number {
  return isPinnedCanary(plan, device) ? 0 : ringOf(placeOf(plan.salt, device.id), plan.rings);
}

/** Whether a device is in the share of the fleet that the rollout is for. Pinned devices always are. */
export function isSampled(plan: RingPlan, device: PlacedDevice): boolean {
  if (plan.percentBasisPoints >= 10_000) return true;
  return isPinnedCanary(plan, device) || sampleOf(plan.salt, device.id) < plan.percentBasisPoints;
}

/** The set of a targeting's canary groups; undefined if it names none. */
export function canarySet({
  canaryGroups,
}: Pick<StoredTargeting, "canaryGroups">): ReadonlySet<string> | undefined {
  return canaryGroups.length === 0 ? undefined : new Set(canaryGroups);
}
