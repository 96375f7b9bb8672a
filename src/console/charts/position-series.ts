import type { SearchPositionsResponse } from "../../../gen/ota/v1/telemetry_service_pb.js";
import { count, counted } from "../ui/format.ts";
import { type Box, longitudeIn } from "./box.ts";
import type { ChartColors } from "./chart-colors.ts";

/** What the map of devices draws in a box: a point for each, or circles with numbers. */
export function positionSeries(
  found: SearchPositionsResponse | undefined,
  box: Box,
  colors: ChartColors,
): readonly object[] {
  const most = Math.max(1, ...(found?.clusters ?? []).map((cluster) => Number(cluster.count)));
  return [
    {
      id: "clusters",
      type: "scatter",
      coordinateSystem: "geo",
      symbolSize: (_: unknown, { data }: { data: { total: number } }) =>
        smallestPx + (largestPx - smallestPx) * Math.sqrt(data.total / most),
      itemStyle: { color: colors.busy, opacity: 0.75 },
      label: {
        show: true,
        color: colors.surface,
        fontSize: 11,
        formatter: ({ data }: { data: { total: number } }) => count(data.total),
      },
      labelLayout: { hideOverlap: true },
      tooltip: {
        formatter: ({ data }: { data: { total: number } }) => counted(data.total, "device"),
      },
      data: (found?.clusters ?? []).map(({ latitude, longitude, count: total }) => ({
        value: [longitudeIn(box, longitude), latitude],
        total: Number(total),
        cluster: [longitudeIn(box, longitude), latitude],
      })),
    },
    {
      id: "devices",
      type: "scatter",
      coordinateSystem: "geo",
      symbolSize: 9,
      itemStyle: { color: colors.busy, borderColor: colors.surface, borderWidth: 1 },
      tooltip: {
        formatter: ({ data }: { data: { serialNumber: string } }) => escaped(data.serialNumber),
      },
      data: (found?.devices ?? []).flatMap(({ deviceId, serialNumber, location }) =>
        location === undefined
          ? []
          : [{ value: [longitudeIn(box, location.longitude), location.latitude], deviceId, serialNumber }],
      ),
    },
  ];
}

const smallestPx = 18;
const largestPx = 52;

/** A text of a device as text, never as HTML. */
function escaped(text: string): HTMLElement {
  const element = document.createElement("span");
  element.textContent = text;
  return element;
}
