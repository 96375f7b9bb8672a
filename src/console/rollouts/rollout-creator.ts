import type { Rollout } from "../../../gen/ota/v1/rollout_pb.js";

/** Whether this actor created a rollout, and so may not approve it. */
export function isCreator({ creator }: Rollout, actor: string): boolean {
  return creator === actor;
}
