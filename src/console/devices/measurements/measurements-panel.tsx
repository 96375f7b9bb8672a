import { useQuery } from "@connectrpc/connect-query";
import { Box, Card, Group, MultiSelect, Skeleton, Stack, Text } from "@mantine/core";
import { useMemo } from "react";
import type { Device } from "../../../../gen/ota/v1/device_pb.js";
import {
  type Metric,
  type Series,
  SeriesSource,
  TelemetryService,
} from "../../../../gen/ota/v1/telemetry_service_pb.js";
import type { DeviceSearch } from "../../addresses/device-search.ts";
import { Chart } from "../../charts/chart.tsx";
import { useChartColors } from "../../charts/chart-colors.ts";
import { SelectSpan } from "../../charts/select-span.tsx";
import { useSession } from "../../session/session.tsx";
import { Failure } from "../../ui/failure.tsx";
import { duration } from "../../ui/format.ts";
import { Nothing } from "../../ui/nothing.tsx";
import { SaveButton } from "../../ui/save-button.tsx";
import { Section } from "../../ui/section.tsx";
import { EventList } from "./event-list.tsx";
import { Figures } from "./figures.tsx";
import { measurementsHeight, measurementsOption, plot } from "./measurements-option.ts";
import { readingMetrics, uptimeMetric } from "./metric-words.ts";
import { type Span, shortestSpanMs, useSpan } from "./span.ts";
import { SpanPicker } from "./span-picker.tsx";
import { TimeBasisChoice, timeBasisOf } from "./time-basis.tsx";
import { maxMetrics, useMeasurements } from "./use-measurements.ts";

interface MeasurementsPanelProps {
  readonly device: Device;
  readonly search: DeviceSearch;
  readonly onChange: (search: DeviceSearch) => void;
}

/** What a device measured over time, with what happened to it on the same axis. */
export function MeasurementsPanel({ device, search, onChange }: MeasurementsPanelProps) {
  const span = useSpan(search);
  const { can } = useSession();
  const { listMetrics } = TelemetryService.method;
  const mayList = can(listMetrics);
  const catalogue = useQuery(
    listMetrics,
    { deviceType: device.deviceType, pageSize: 1_000 },
    { staleTime: 60_000, enabled: mayList },
  );
  const metrics = catalogue.data?.metrics.filter(({ name }) => name !== uptimeMetric);
  const drawn = mayList ? metrics && usual(metrics) : readingMetrics;
  const chosen = search.metrics?.split(",").slice(0, maxMetrics) ?? drawn;
  const measured = useMeasurements(device.id, chosen, span, timeBasisOf(search));
  const withValues = measured.series?.filter(({ points }) => points.length > 0) ?? [];
  const without = measured.series?.filter(({ points }) => points.length === 0) ?? [];
  const select = (from: number, to: number) => {
    const { range: _, ...rest } = search;
    onChange({ ...rest, from, to });
  };
  return (
    <Stack gap="md">
      <Card withBorder padding="md" component="section" aria-label="Measurements">
        <Group justify="space-between" gap="sm" mb="xs" align="flex-start">
          <SpanPicker span={span} search={search} onChange={onChange} />
          {mayList && (
            <MultiSelect
              aria-label="Metrics"
              size="xs"
              maw={420}
              searchable
              clearable
              hidePickedOptions
              maxValues={maxMetrics}
              placeholder={search.metrics === undefined ? "Choose metrics" : "Add a metric"}
              data={metrics?.map(({ name, displayName }) => ({ value: name, label: displayName })) ?? []}
              value={search.metrics === undefined ? [] : [...(chosen ?? [])]}
              onChange={(values) => {
                const { metrics: _, ...rest } = search;
                onChange(values.length === 0 ? rest : { ...rest, metrics: values.join(",") });
              }}
            />
          )}
        </Group>
        <Box mb="md">
          <TimeBasisChoice search={search} onChange={onChange} />
        </Box>
        {chosen === undefined && catalogue.isError && (
          <Failure error={catalogue.error} doing="read which metrics there are" retry={catalogue.refetch} />
        )}
        {measured.error !== null && (
          <Failure error={measured.error} doing="read the measurements" retry={measured.retry} />
        )}
        {measured.series === undefined &&
          measured.error === null &&
          !(chosen === undefined && catalogue.isError) && (
            <Skeleton h={measurementsHeight(Math.min(chosen?.length ?? 6, 6))} />
          )}
        {measured.series !== undefined && withValues.length === 0 && measured.events.length === 0 ? (
          <Nothing title="Nothing in this time">Choose a longer or another time above.</Nothing>
        ) : (
          measured.series !== undefined && (
            <Drawing
              title={device.serialNumber}
              series={withValues}
              span={span}
              measured={measured}
              onSelect={select}
            />
          )
        )}
        <Group justify="space-between" mt="xs" gap="xs" align="flex-start">
          <Text size="xs" c="dimmed" maw={640}>
            {sourceWords(measured.source, measured.bucketMs)} Drag over the drawing to look closer.
            {without.length > 0 &&
              ` No values of: ${without.map(({ displayName }) => displayName).join(", ")}.`}
          </Text>
          <SaveButton path={exportPath(device.id, span)} name={`${device.serialNumber}-heartbeats.csv`}>
            {search.by === "device"
              ? "Heartbeats received in this time as CSV"
              : "Heartbeats of this time as CSV"}
          </SaveButton>
        </Group>
      </Card>
      {withValues.length > 0 && <Figures series={withValues} />}
      <Section title="What happened" description="In this time, newest first">
        <EventList events={measured.events} />
      </Section>
    </Stack>
  );
}

/** The metrics that are drawn without being asked for. */
function usual(metrics: readonly Metric[]): string[] {
  const names = (builtIn: boolean) =>
    metrics.filter((each) => each.builtIn === builtIn).map(({ name }) => name);
  return [...names(true), ...names(false).slice(0, customShown)];
}

/** So many of a device's own metrics are drawn without being asked for. */
const customShown = 3;

interface DrawingProps {
  readonly title: string;
  readonly series: readonly Series[];
  readonly span: Span;
  readonly measured: ReturnType<typeof useMeasurements>;
  readonly onSelect: (startMs: number, endMs: number) => void;
}

function Drawing({ title, series, span, measured, onSelect }: DrawingProps) {
  const colors = useChartColors();
  const { bucketMs, events, isStale } = measured;
  const { startMs, endMs, isLive } = span;
  const option = useMemo(
    () => measurementsOption({ span: { startMs, endMs, isLive }, series, bucketMs, events }, colors),
    [startMs, endMs, isLive, series, bucketMs, events, colors],
  );
  return (
    <div style={{ opacity: isStale && !isLive ? 0.6 : 1 }}>
      <SelectSpan
        left={plot.left}
        right={plot.right}
        startMs={startMs}
        endMs={endMs}
        shortestMs={shortestSpanMs}
        onSelect={onSelect}
      >
        <Chart
          label={`${series.map(({ displayName }) => displayName).join(", ")} of ${title} over time`}
          option={option}
          height={measurementsHeight(series.length)}
        />
      </SelectSpan>
    </div>
  );
}

function sourceWords(source: SeriesSource, bucketMs: number): string {
  const each = bucketMs === 0 ? "" : `each point holds ${duration(bucketMs / 1_000)}`;
  switch (source) {
    case SeriesSource.HEARTBEATS:
      return `From the heartbeats themselves; ${each}.`;
    case SeriesSource.FIVE_MINUTES:
      return `From sums of 5 minutes; ${each}.`;
    case SeriesSource.ONE_HOUR:
      return `From sums of an hour; ${each}.`;
    case SeriesSource.UNSPECIFIED:
      return "";
  }
}

function exportPath(deviceId: string, { startMs, endMs }: Span): string {
  const query = new URLSearchParams({
    format: "csv",
    start_time: new Date(startMs).toISOString(),
    end_time: new Date(endMs).toISOString(),
  });
  return `/api/v1/heartbeat/${deviceId}/export?${query}`;
}
