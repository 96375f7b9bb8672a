import { useQuery } from "@connectrpc/connect-query";
import { SegmentedControl, Skeleton, Stack, Text } from "@mantine/core";
import { useMemo, useState } from "react";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { Chart } from "../charts/chart.tsx";
import { useChartColors } from "../charts/chart-colors.ts";
import { Failure } from "../ui/failure.tsx";
import { counted } from "../ui/format.ts";
import { Section } from "../ui/section.tsx";
import { useNow } from "../ui/use-now.ts";
import { timelineOf, timelineOption } from "./timeline-option.ts";

/** How often a group happened on each day, by version. */
export function CrashTimeline({ groupId }: { readonly groupId: string }) {
  const [days, setDays] = useState("30");
  const colors = useChartColors();
  const { data, error, refetch } = useQuery(ErrorService.method.getErrorTimeline, {
    id: groupId,
    days: Number(days),
  });
  const today = useNow(60_000).toISOString().slice(0, 10);
  const timeline = useMemo(() => timelineOf(data?.counts ?? [], Number(days), today), [data, days, today]);
  const option = useMemo(() => timelineOption(timeline, colors), [timeline, colors]);
  return (
    <Section
      title="Over time"
      description="How often a day (UTC), by the version that ran"
      actions={
        <SegmentedControl
          size="xs"
          aria-label="Days"
          value={days}
          data={["7", "30", "90", "400"].map((value) => ({ value, label: `${value} d` }))}
          onChange={setDays}
        />
      }
    >
      {error !== null && <Failure error={error} doing="count it by day" retry={refetch} />}
      {error === null && data === undefined && <Skeleton h={chartHeightPx} />}
      {data !== undefined && (
        <Stack gap="xs">
          <Chart label="Occurrences by day and version" option={option} height={chartHeightPx} />
          <Text size="xs" c="dimmed">
            {timeline.versions.length === 0
              ? `Not seen in the last ${days} days.`
              : timeline.versions
                  .map(({ version, total }) => `${version}: ${counted(total, "time")}`)
                  .join(" · ")}
          </Text>
        </Stack>
      )}
    </Section>
  );
}

const chartHeightPx = 240;
