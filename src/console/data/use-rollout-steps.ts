import { useRef } from "react";
import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { fleetWork } from "./fleet-work.ts";
import { useRefresh } from "./use-refresh.ts";
import { type ServerStream, useServerStream } from "./use-server-stream.ts";

/** Follows the fleet, and reads lists of rollouts again when one of its devices took a step. */
export function useRolloutSteps(): ServerStream {
  const refresh = useRefresh(leastMs, RolloutService.method.listRollouts);
  const work = useRef("");
  return useServerStream(DeviceService.method.watchFleet, {}, ({ overview }) => {
    if (overview === undefined) return;
    if (work.current !== fleetWork(overview)) refresh();
    work.current = fleetWork(overview);
  });
}

/** How often a list is read again at most while rollouts move. */
const leastMs = 1_000;
