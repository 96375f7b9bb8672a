import { useQuery } from "@connectrpc/connect-query";
import { Skeleton } from "@mantine/core";
import { RolloutService } from "../../../gen/ota/v1/rollout_service_pb.js";
import { Failure } from "../ui/failure.tsx";
import { WarningList } from "./warning-list.tsx";

/** What to know before a draft starts, counted by the service as things stand. */
export function StartWarnings({ rolloutId }: { readonly rolloutId: string }) {
  const { data, error, refetch } = useQuery(RolloutService.method.previewRollout, { rolloutId });
  if (error !== null) return <Failure error={error} doing="count the devices" retry={refetch} />;
  return data === undefined ? <Skeleton h={60} /> : <WarningList warnings={data.warnings} />;
}
