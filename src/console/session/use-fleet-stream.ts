import { DeviceService, type WatchFleetResponse } from "../../../gen/ota/v1/device_service_pb.js";
import { type ServerStream, useServerStream } from "../data/use-server-stream.ts";
import { useSession } from "./session.tsx";

/** Follows the fleet. Undefined for a token that may not, which is limited: what it shows is read again by and by instead. */
export function useFleetStream(onMoment: (moment: WatchFleetResponse) => void): ServerStream | undefined {
  const { can } = useSession();
  const { watchFleet } = DeviceService.method;
  const mayWatch = can(watchFleet);
  const stream = useServerStream(watchFleet, mayWatch ? {} : undefined, onMoment);
  return mayWatch ? stream : undefined;
}
