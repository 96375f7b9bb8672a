import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { useQuery } from "@connectrpc/connect-query";
import { SegmentedControl, Skeleton, Stack, Text } from "@mantine/core";
import { keepPreviousData } from "@tanstack/react-query";
import { useMemo } from "react";
import {
  DeviceService,
  type GetDeviceStatusOverviewResponse,
} from "../../../gen/ota/v1/device_service_pb.js";
import { type HistoryRange, historyRanges } from "../addresses/overview-search.ts";
import { Chart } from "../charts/chart.tsx";
import { useChartColors } from "../charts/chart-colors.ts";
import { Failure } from "../ui/failure.tsx";
import { Section } from "../ui/section.tsx";
import { Time } from "../ui/time.tsx";
import { useNow } from "../ui/use-now.ts";
import { useSeenMoments } from "./use-seen-moments.ts";
import { versionHistoryOption } from "./version-history-option.ts";
import { historyMoments, versionLayers } from "./version-layers.ts";

interface VersionHistoryProps {
  readonly fleet: GetDeviceStatusOverviewResponse;
  readonly range: HistoryRange;
  readonly onRange: (range: HistoryRange) => void;
}

/** How many devices ran which firmware version, up to the present: hours that the service counted, then what this page saw. */
export function VersionHistory({ fleet, range, onRange }: VersionHistoryProps) {
  const colors = useChartColors();
  const seen = useSeenMoments(fleet);
  // To the hour, so that the question is not another one with each drawing.
  const hour = Math.floor(useNow(60_000).getTime() / hourMs) * hourMs;
  const { data, error, refetch } = useQuery(
    DeviceService.method.queryVersionHistory,
    { startTime: timestampFromMs(hour - hoursOf[range] * hourMs), maxPoints },
    { placeholderData: keepPreviousData, refetchInterval: refreshMs },
  );
  const drawn = useMemo(() => {
    if (data === undefined) return undefined;
    const startMs = hour - hoursOf[range] * hourMs;
    const counted = historyMoments(data).filter(({ atMs }) => atMs >= startMs);
    // The page's own moments are newer than the answer's present, or finer.
    const first = seen[0]?.atMs ?? Number.POSITIVE_INFINITY;
    const moments = [...counted.filter(({ atMs }) => atMs < first), ...seen];
    const stepMs = Math.max(Math.ceil(hoursOf[range] / maxPoints), 1) * hourMs;
    const firstMs = moments[0]?.atMs ?? startMs;
    // A young service is drawn over its own time: an empty drawing would say that there were no devices.
    const young = data.firstTime !== undefined && timestampDate(data.firstTime).getTime() > startMs;
    return {
      layers: versionLayers(moments, gapSteps * stepMs),
      startMs: young ? firstMs : startMs,
      endMs: moments.at(-1)?.atMs ?? hour,
      young,
    };
  }, [data, seen, hour, range]);
  const option = useMemo(() => drawn && versionHistoryOption(drawn.layers, drawn, colors), [drawn, colors]);
  return (
    <Section
      title="Versions over time"
      description="Devices by firmware version, counted each hour and now"
      actions={
        <SegmentedControl
          size="xs"
          aria-label="How far back"
          value={range}
          data={historyRanges.map((value) => ({ value, label: labels[value] }))}
          onChange={(value) => {
            const known = historyRanges.find((each) => each === value);
            if (known !== undefined) onRange(known);
          }}
        />
      }
    >
      {error !== null && data === undefined && (
        <Failure error={error} doing="read the versions' history" retry={refetch} />
      )}
      {error === null && option === undefined && <Skeleton h={chartHeightPx} />}
      {option !== undefined && (
        <Stack gap={4}>
          <Chart label="Devices by firmware version over time" option={option} height={chartHeightPx} />
          {drawn?.young === true && (
            <Text size="xs" c="dimmed">
              Counted since <Time at={data?.firstTime} />; what ran before that is not known.
            </Text>
          )}
        </Stack>
      )}
    </Section>
  );
}

const hourMs = 3_600_000;

/** The hours that passed meanwhile are few. */
const refreshMs = 300_000;

/** About one for each few pixels. */
const maxPoints = 200;

/** Silence of more steps than this is a hole, not a line. */
const gapSteps = 2.5;

const chartHeightPx = 230;

const hoursOf: Readonly<Record<HistoryRange, number>> = {
  "24h": 24,
  "7d": 7 * 24,
  "30d": 30 * 24,
  "1y": 365 * 24,
};

const labels: Readonly<Record<HistoryRange, string>> = {
  "24h": "24 h",
  "7d": "7 d",
  "30d": "30 d",
  "1y": "1 y",
};
