import { useQuery } from "@connectrpc/connect-query";
import { Loader, Text } from "@mantine/core";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { Failure } from "../ui/failure.tsx";
import { counted } from "../ui/format.ts";

interface RecallReachProps {
  readonly firmwareId: string;
  readonly replacementId: string;
}

/** Whom a recall would reach, and who could not leave: before it happens. */
export function RecallReach({ firmwareId, replacementId }: RecallReachProps) {
  const { data, error } = useQuery(
    FirmwareService.method.previewRecall,
    { id: firmwareId, replacementId },
    { staleTime: Number.POSITIVE_INFINITY },
  );
  if (error !== null) return <Failure error={error} doing="count the devices" />;
  if (data === undefined) return <Loader size="sm" aria-label="Counting the devices" />;
  const { runningCount, readyCount, cannotLeaveCount, rolloutCount } = data;
  return (
    <Text size="sm" role="status">
      {counted(runningCount, "device")} {runningCount === 1n ? "runs" : "run"} it: {String(readyCount)} would
      be offered the replacement now,{" "}
      <Text span inherit fw={cannotLeaveCount > 0n ? 600 : undefined}>
        {String(cannotLeaveCount)} could not leave
      </Text>
      . {counted(rolloutCount, "rollout")} of it {rolloutCount === 1n ? "is" : "are"} under way.
    </Text>
  );
}
