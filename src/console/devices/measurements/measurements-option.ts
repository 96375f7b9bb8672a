import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { EChartsCoreOption } from "echarts/core";
import type { Series, SeriesPoint } from "../../../../gen/ota/v1/telemetry_service_pb.js";
import type { ChartColors } from "../../charts/chart-colors.ts";
import { chartFrame } from "../../charts/chart-frame.ts";
import { tooltipFrame, tooltipLines } from "../../charts/tooltip.ts";
import { type DeviceEvent, type EventKind, eventKinds } from "./device-event.ts";
import { metricValue } from "./metric-words.ts";
import type { Span } from "./span.ts";

/** Where the drawings lie in their box, in pixels: the selection by mouse counts with it. */
export const plot = {
  left: 76,
  right: 16,
  eventsHeight: 84,
  height: 84,
  gap: 40,
  top: 10,
  bottom: 28,
} as const;

/** How high a drawing of so many metrics is, in pixels. */
export function measurementsHeight(metrics: number): number {
  return plot.top + plot.eventsHeight + metrics * (plot.height + plot.gap) + plot.bottom;
}

/** What is drawn. */
export interface Measurements {
  readonly span: Span;
  readonly series: readonly Series[];
  readonly bucketMs: number;
  readonly events: readonly DeviceEvent[];
}

/** The drawing of metrics below each other on one axis of time: the mean as a line, lowest to highest as a band, events on top. */
export function measurementsOption(measurements: Measurements, colors: ChartColors): EChartsCoreOption {
  const { span, series, events, bucketMs } = measurements;
  const rows = series.length + 1;
  const at = (row: number) =>
    row === 0 ? plot.top : plot.top + plot.eventsHeight + plot.gap + (row - 1) * (plot.height + plot.gap);
  const time = { type: "time" as const, min: span.startMs, max: span.endMs };
  return {
    ...chartFrame(colors),
    axisPointer: { link: [{ xAxisIndex: "all" }], lineStyle: { color: colors.dimmed } },
    tooltip: {
      ...tooltipFrame(colors),
      formatter: (found: unknown) => tooltipText(found, series, bucketMs),
    },
    title: series.map(({ displayName }, index) => ({
      text: displayName,
      left: plot.left,
      top: at(index + 1) - 24,
      padding: 0,
      textStyle: { color: colors.text, fontSize: 12, fontWeight: 600 },
    })),
    grid: Array.from({ length: rows }, (_, row) => ({
      left: plot.left,
      right: plot.right,
      top: at(row),
      height: row === 0 ? plot.eventsHeight : plot.height,
    })),
    xAxis: Array.from({ length: rows }, (_, row) => ({
      ...time,
      gridIndex: row,
      axisLine: { lineStyle: { color: colors.line } },
      axisTick: { show: row === rows - 1 },
      axisLabel: { show: row === rows - 1, color: colors.dimmed, hideOverlap: true },
      splitLine: { show: true, lineStyle: { color: colors.line, opacity: 0.5 } },
      axisPointer: { show: true, label: { show: false } },
    })),
    yAxis: [
      {
        type: "category",
        data: [...eventKinds],
        inverse: true,
        axisLine: { show: false },
        axisTick: { show: false },
        axisLabel: { color: colors.dimmed, fontSize: 11 },
        splitLine: { show: true, lineStyle: { color: colors.line } },
        axisPointer: { show: false },
      },
      ...series.map(({ unit }, index) => ({
        type: "value",
        gridIndex: index + 1,
        ...(unit === "%" ? { min: 0, max: 100 } : { scale: true }),
        splitNumber: 2,
        axisLabel: {
          color: colors.dimmed,
          fontSize: 11,
          formatter: (value: number) => metricValue(value, unit),
        },
        splitLine: { lineStyle: { color: colors.line, opacity: 0.5 } },
        axisPointer: { show: false },
      })),
    ],
    series: [
      eventSeries(events, colors),
      ...series.flatMap((each, index) => lines(each, index + 1, measurements, colors)),
    ],
  };
}

function eventSeries(events: readonly DeviceEvent[], colors: ChartColors) {
  return {
    type: "scatter",
    name: "events",
    xAxisIndex: 0,
    yAxisIndex: 0,
    symbolSize: 9,
    data: events.map(({ kind, atMs, text }) => ({
      value: [atMs, kind, text],
      symbol: symbols[kind],
      itemStyle: { color: eventColor(kind, colors) },
    })),
  };
}

const symbols: Readonly<Record<EventKind, string>> = {
  Updates: "diamond",
  Reboots: "circle",
  Crashes: "triangle",
  Errors: "rect",
};

function eventColor(kind: EventKind, colors: ChartColors): string {
  switch (kind) {
    case "Updates":
      return colors.busy;
    case "Reboots":
      return colors.dimmed;
    case "Crashes":
      return colors.bad;
    case "Errors":
      return colors.warn;
  }
}

function lines({ points }: Series, row: number, { events }: Measurements, colors: ChartColors) {
  const color = colors.series[0] ?? colors.busy;
  const drawn = withGaps(points);
  const shared = { type: "line", xAxisIndex: row, yAxisIndex: row, symbol: "none", silent: true } as const;
  const band = { ...shared, stack: `band-${row}`, stackStrategy: "all", lineStyle: { opacity: 0 } } as const;
  return [
    { ...band, name: `${row} min`, data: drawn.map(([at, point]) => [at, point?.min ?? null]) },
    {
      ...band,
      name: `${row} band`,
      areaStyle: { color, opacity: 0.18 },
      data: drawn.map(([at, point]) => [at, point === undefined ? null : point.max - point.min]),
    },
    {
      ...shared,
      name: String(row),
      // Alone between gaps a value would not be seen.
      showSymbol: points.length < 40,
      symbol: "circle",
      symbolSize: 4,
      lineStyle: { color, width: 1.5 },
      itemStyle: { color },
      data: drawn.map(([at, point]) => [at, point?.avg ?? null]),
      markLine: {
        silent: true,
        symbol: "none",
        label: { show: false },
        data: events
          .filter(({ kind }) => kind !== "Errors")
          .slice(-maxLines)
          .map(({ kind, atMs }) => ({
            xAxis: atMs,
            lineStyle: { color: eventColor(kind, colors), type: "dashed", width: 1, opacity: 0.7 },
          })),
      },
    },
  ];
}

/** More lines than this would hide what they shall explain. */
const maxLines = 40;

/** The points with a hole wherever several of the usual steps are missing: silence is not drawn as a line. */
function withGaps(points: readonly SeriesPoint[]): readonly (readonly [number, SeriesPoint | undefined])[] {
  const timed = points.flatMap((point) =>
    point.startTime === undefined ? [] : [[timestampMs(point.startTime), point] as const],
  );
  const steps = timed.slice(1).map(([at], index) => at - (timed[index]?.[0] ?? at));
  const usual = steps.toSorted((a, b) => a - b)[Math.floor(steps.length / 2)] ?? 0;
  return timed.flatMap(([at, point], index) => {
    const before = timed[index - 1]?.[0];
    const isGap = before !== undefined && at - before > gapSteps * usual;
    return isGap ? [[before + 1, undefined] as const, [at, point] as const] : [[at, point] as const];
  });
}

const gapSteps = 4;

/** The values of all metrics at one moment, and what happened then. Text of devices is written as text, never as HTML. */
function tooltipText(found: unknown, series: readonly Series[], bucketMs: number): HTMLElement {
  const items = found as readonly { seriesName: string; value: readonly [number, unknown, string?] }[];
  const lines: string[] = [];
  for (const { seriesName, value } of items) {
    if (seriesName === "events") lines.push(value[2] ?? "");
    const each = series[Number(seriesName) - 1];
    const point = each?.points.find(
      ({ startTime }) => startTime !== undefined && timestampMs(startTime) === value[0],
    );
    if (each === undefined || point === undefined) continue;
    const spread =
      point.min === point.max || bucketMs === 0
        ? ""
        : ` (${metricValue(point.min, each.unit)} to ${metricValue(point.max, each.unit)})`;
    lines.push(`${each.displayName}: ${metricValue(point.avg, each.unit)}${spread}`);
  }
  return tooltipLines(lines, moment.format(items[0]?.value[0] ?? 0));
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
