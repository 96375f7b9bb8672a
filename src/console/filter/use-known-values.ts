import { useQuery } from "@connectrpc/connect-query";
import { type CountByName, DeviceService } from "../../../gen/ota/v1/device_service_pb.js";
import { useSession } from "../session/session.tsx";
import type { KnownValues } from "./complete-filter.ts";

/** The values that exist in the fleet, for the completion of filters: those of the overview. None for who may not read it. */
export function useKnownValues(): KnownValues {
  const { can } = useSession();
  const { getDeviceStatusOverview } = DeviceService.method;
  const { data } = useQuery(
    getDeviceStatusOverview,
    {},
    { staleTime: staleMs, enabled: can(getDeviceStatusOverview) },
  );
  if (data === undefined) return {};
  const names = (counts: readonly CountByName[]) =>
    counts.map(({ name }) => name).filter((name) => name !== "");
  return {
    device_type: names(data.deviceTypes),
    hardware_model: names(data.hardwareModels),
    firmware_version: names(data.firmwareVersions),
    groups: names(data.groups),
    carrier: names(data.carriers),
  };
}

/** Names change rarely. */
const staleMs = 60_000;
