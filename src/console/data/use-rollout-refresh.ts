import { useRef } from "react";
import type { GetDeviceStatusOverviewResponse } from "../../../gen/ota/v1/device_service_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { useRefresh } from "./use-refresh.ts";

/** For pages that follow the fleet: reads lists of rollouts again when what they are told shows that one of them moved. */
export function useRolloutRefresh(): (overview: GetDeviceStatusOverviewResponse) => void {
  const refresh = useRefresh(leastMs, RolloutService.method.listRollouts);
  const last = useRef("");
  return (overview) => {
    const work = fleetWork(overview);
    if (last.current !== work) refresh();
    last.current = work;
  };
}

/** How often a list is read again at most while rollouts move. */
const leastMs = 1_000;

/** What changes with every step of a rollout: updates under way, and versions that run. Equal texts: no rollout moved. */
function fleetWork({ updatingCount, firmwareVersions }: GetDeviceStatusOverviewResponse): string {
  return [updatingCount, ...firmwareVersions.map(({ name, count }) => `${name} ${count}`)].join("\n");
}
