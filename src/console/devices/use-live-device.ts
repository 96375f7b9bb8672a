import { DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { useRefresh } from "../data/use-refresh.ts";
import { type ServerStream, useServerStream } from "../data/use-server-stream.ts";

/** Follows the fleet, and reads a device again at once when it comes or goes. */
export function useLiveDevice(deviceId: string): ServerStream {
  const refresh = useRefresh(leastMs, DeviceService.method.getDevice);
  return useServerStream(DeviceService.method.watchFleet, {}, ({ presenceChanges, presenceChangesLost }) => {
    if (presenceChangesLost || presenceChanges.some((change) => change.deviceId === deviceId)) refresh();
  });
}

const leastMs = 500;
