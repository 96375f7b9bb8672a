import type { EChartsCoreOption } from "echarts/core";
import type { ErrorCount } from "../../../gen/ota/v1/error_group_pb.js";
import type { ChartColors } from "../charts/chart-colors.ts";
import { chartFrame } from "../charts/chart-frame.ts";
import { tooltipFrame, tooltipLines } from "../charts/tooltip.ts";
import { counted } from "../ui/format.ts";

/** Counts by day and version. */
interface Timeline {
  /** `YYYY-MM-DD` in UTC, oldest first, without gaps. */
  readonly days: readonly string[];
  /** Most frequent last, so that the colours stay with the versions that come first. */
  readonly versions: readonly {
    readonly version: string;
    readonly total: number;
    readonly counts: readonly number[];
  }[];
}

/** Lays counts out over the last days up to `today` (`YYYY-MM-DD`); versions beyond the most frequent ones are drawn together. */
export function timelineOf(counts: readonly ErrorCount[], days: number, today: string): Timeline {
  const names = Array.from({ length: days }, (_, index) =>
    new Date(Date.parse(today) - (days - 1 - index) * dayMs).toISOString().slice(0, 10),
  );
  const byVersion = new Map<string, Map<string, number>>();
  for (const { day, firmwareVersion, occurrenceCount } of counts) {
    const perDay = byVersion.get(firmwareVersion) ?? new Map<string, number>();
    perDay.set(day, (perDay.get(day) ?? 0) + Number(occurrenceCount));
    byVersion.set(firmwareVersion, perDay);
  }
  const versions = [...byVersion]
    .map(([version, perDay]) => {
      const each = names.map((day) => perDay.get(day) ?? 0);
      return { version, counts: each, total: each.reduce((sum, value) => sum + value, 0) };
    })
    .filter(({ total }) => total > 0)
    .toSorted((a, b) => b.total - a.total);
  const rest = versions.slice(mostVersions);
  const together = {
    version: "others",
    total: rest.reduce((sum, { total }) => sum + total, 0),
    counts: names.map((_, index) => rest.reduce((sum, each) => sum + (each.counts[index] ?? 0), 0)),
  };
  return {
    days: names,
    versions: [...versions.slice(0, mostVersions), ...(rest.length > 0 ? [together] : [])],
  };
}

const dayMs = 86_400_000;

/** One colour less than there are. */
const mostVersions = 7;

/** The drawing of a timeline: bars by day, stacked by version. */
export function timelineOption({ days, versions }: Timeline, colors: ChartColors): EChartsCoreOption {
  return {
    ...chartFrame(colors),
    color: [...colors.series],
    tooltip: {
      ...tooltipFrame(colors),
      formatter: tooltipOf,
    },
    legend: { bottom: 0, type: "scroll", textStyle: { color: colors.text }, itemWidth: 12, itemHeight: 10 },
    grid: { left: 44, right: 12, top: 10, bottom: 52 },
    xAxis: {
      type: "category",
      data: [...days],
      axisLine: { lineStyle: { color: colors.line } },
      axisTick: { show: false },
      axisLabel: { color: colors.dimmed, hideOverlap: true },
    },
    yAxis: {
      type: "value",
      minInterval: 1,
      axisLabel: { color: colors.dimmed },
      splitLine: { lineStyle: { color: colors.line } },
    },
    series: versions.map(({ version, counts }) => ({
      type: "bar",
      stack: "versions",
      name: version,
      barMaxWidth: 28,
      data: [...counts],
    })),
  };
}

function tooltipOf(found: unknown): HTMLElement {
  const items = found as readonly {
    readonly name: string;
    readonly seriesName: string;
    readonly value: number;
  }[];
  const seen = items.filter(({ value }) => value > 0);
  return tooltipLines([
    items[0]?.name ?? "",
    ...seen.map(({ seriesName, value }) => `${seriesName}: ${counted(value, "time")}`),
  ]);
}
