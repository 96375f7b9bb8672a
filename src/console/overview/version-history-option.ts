import type { EChartsCoreOption } from "echarts/core";
import type { ChartColors } from "../charts/chart-colors.ts";
import { chartFrame } from "../charts/chart-frame.ts";
import { tooltipFrame, tooltipLines } from "../charts/tooltip.ts";
import { count, percent } from "../ui/format.ts";
import type { VersionLayer, VersionLayers } from "./version-layers.ts";

/** The drawing of the versions' history: a layer for each version, as high as devices ran it, up to the present. */
export function versionHistoryOption(
  { times, layers }: VersionLayers,
  { startMs, endMs }: { readonly startMs: number; readonly endMs: number },
  colors: ChartColors,
): EChartsCoreOption {
  return {
    ...chartFrame(colors),
    tooltip: {
      ...tooltipFrame(colors),
      formatter: (found: unknown) => tooltipOf(found, times, layers),
    },
    legend: {
      bottom: 0,
      type: "scroll",
      textStyle: { color: colors.text },
      pageTextStyle: { color: colors.text },
      pageIconColor: colors.text,
      pageIconInactiveColor: colors.line,
      icon: "roundRect",
      itemWidth: 12,
      itemHeight: 10,
    },
    grid: { left: 52, right: 16, top: 10, bottom: 50 },
    xAxis: {
      type: "time",
      min: startMs,
      max: endMs,
      axisLine: { lineStyle: { color: colors.line } },
      axisLabel: { color: colors.dimmed, hideOverlap: true },
    },
    yAxis: {
      type: "value",
      minInterval: 1,
      axisLabel: { color: colors.dimmed, formatter: (value: number) => short.format(value) },
      splitLine: { lineStyle: { color: colors.line } },
    },
    series: layers.map((layer, index) => {
      const color = colorOf(layer, index, colors);
      return {
        type: "line",
        stack: "versions",
        name: layer.name,
        showSymbol: times.length === 1,
        symbol: "circle",
        symbolSize: 5,
        lineStyle: { color, width: 1 },
        itemStyle: { color },
        areaStyle: { color, opacity: 0.55 },
        data: layer.counts.map((devices, place) => [times[place], devices]),
      };
    }),
  };
}

function colorOf({ kind }: VersionLayer, index: number, colors: ChartColors): string {
  if (kind === "other") return colors.dimmed;
  if (kind === "unknown") return colors.line;
  return versionColor(index, colors);
}

/** The greys are for what is no version. */
function versionColor(index: number, { series, busy, dimmed }: ChartColors): string {
  const apart = series.filter((color) => color !== dimmed);
  return apart[index % apart.length] ?? busy;
}

function tooltipOf(
  found: unknown,
  times: readonly number[],
  layers: readonly VersionLayer[],
): HTMLElement | string {
  const place = (found as readonly { readonly dataIndex: number }[])[0]?.dataIndex;
  const atMs = place === undefined ? undefined : times[place];
  if (place === undefined || atMs === undefined) return "";
  const all = layers.reduce((sum, { counts }) => sum + (counts[place] ?? 0), 0);
  const lines = layers.toReversed().flatMap(({ name, counts }) => {
    const devices = counts[place] ?? 0;
    return devices > 0
      ? [`${name}: ${count(devices)} (${percent(Math.round((1_000 * devices) / all) / 10)})`]
      : [];
  });
  return tooltipLines(all === 0 ? [...lines, "no devices"] : lines, moment.format(atMs));
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const short = new Intl.NumberFormat("en", { notation: "compact" });
