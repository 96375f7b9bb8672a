import type { GetDeviceStatusOverviewResponse } from "../../../gen/ota/v1/device_service_pb.js";

/** What changes with every step of a rollout: updates under way, and versions that run. Equal texts: no rollout moved. */
export function fleetWork({ updatingCount, firmwareVersions }: GetDeviceStatusOverviewResponse): string {
  return [updatingCount, ...firmwareVersions.map(({ name, count }) => `${name} ${count}`)].join("\n");
}
