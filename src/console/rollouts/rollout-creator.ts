import type { Rollout } from "../../../gen/ota/v1/rollout_pb.js";

/** Whether the operator of this name created a rollout, and so may not approve it. */
export function isCreator({ creator }: Rollout, operator: string): boolean {
  return creator === `operator:${operator}`;
}
