import { ActionIcon, Stack } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { IconMinus, IconPlus } from "@tabler/icons-react";
import type { EChartsCoreOption } from "echarts/core";
import { useMemo, useRef } from "react";
import { type Box, clampBox } from "./box.ts";
import { Chart } from "./chart.tsx";
import { useChartColors } from "./chart-colors.ts";
import type { EChartsType } from "./echarts.ts";
import { loadWorld, worldMap } from "./world.ts";
import classes from "./world-map.module.css";

interface WorldMapProps {
  readonly label: string;
  /** What is shown at first; after that the reader moves it. */
  readonly box: Box;
  readonly height: number | string;
  /** What is drawn on it: series of ECharts on the coordinate system `geo`. */
  readonly series: readonly object[];
  /** Called when another part is shown, after the moving paused. */
  readonly onBox?: (box: Box) => void;
  /** Called with the data of what was clicked. */
  readonly onChoose?: (data: unknown) => void;
}

/** A map of the world, drawn from outlines that come with the console. Moved by mouse or fingers, zoomed by wheel or buttons. */
export function WorldMap({ label, box, height, series, onBox, onChoose }: WorldMapProps) {
  const colors = useChartColors();
  const chart = useRef<EChartsType>(undefined);
  const tellBox = useDebouncedCallback((drawn: EChartsType) => onBox?.(shownBox(drawn)), pauseMs);
  const option = useMemo<EChartsCoreOption>(
    () => ({
      animation: false,
      tooltip: {
        confine: true,
        backgroundColor: colors.surface,
        borderColor: colors.line,
        textStyle: { color: colors.text, fontSize: 12 },
      },
      geo: {
        map: worldMap,
        roam: true,
        silent: true,
        preserveAspect: true,
        left: 0,
        right: 0,
        top: 0,
        bottom: 0,
        boundingCoords: [
          [box.west, box.north],
          [box.east, box.south],
        ],
        scaleLimit: { min: 0.4, max: 2_000 },
        itemStyle: { areaColor: colors.land, borderColor: colors.dimmed, borderWidth: 0.5 },
      },
      series: [...series],
    }),
    [colors, box, series],
  );
  const zoom = (factor: number) => {
    const drawn = chart.current;
    drawn?.dispatchAction({
      type: "geoRoam",
      componentType: "geo",
      geoIndex: 0,
      zoom: factor,
      originX: drawn.getWidth() / 2,
      originY: drawn.getHeight() / 2,
    });
  };
  const onEvent = (drawn: EChartsType, name: string, details: unknown) => {
    if (name === "georoam") tellBox(drawn);
    else onChoose?.((details as { readonly data?: unknown }).data);
  };
  return (
    <div className={classes["map"] ?? ""}>
      <Chart
        label={label}
        option={option}
        height={height}
        chartRef={chart}
        events={mapEvents}
        onEvent={onEvent}
        prepare={loadWorld}
      />
      <Stack gap={4} className={classes["buttons"] ?? ""}>
        <ActionIcon variant="default" aria-label="Zoom in" onClick={() => zoom(2)}>
          <IconPlus size={16} aria-hidden />
        </ActionIcon>
        <ActionIcon variant="default" aria-label="Zoom out" onClick={() => zoom(0.5)}>
          <IconMinus size={16} aria-hidden />
        </ActionIcon>
      </Stack>
    </div>
  );
}

const mapEvents = ["georoam", "click"];

/** The reader moves on within this time as often as not. */
const pauseMs = 300;

function shownBox(chart: EChartsType): Box {
  const at = (x: number, y: number) =>
    chart.convertFromPixel({ geoIndex: 0 }, [x, y]) as unknown as [number, number];
  const [west, north] = at(0, 0);
  const [east, south] = at(chart.getWidth(), chart.getHeight());
  return clampBox({ south, west, north, east });
}
