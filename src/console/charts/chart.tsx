import { Box } from "@mantine/core";
import type { EChartsCoreOption } from "echarts/core";
import { type CSSProperties, useEffect, useRef } from "react";
import type { EChartsType } from "./echarts.ts";

interface ChartProps {
  /** What it shows, for those who do not see it; the figures belong beside it as text. */
  readonly label: string;
  readonly option: EChartsCoreOption;
  readonly height: CSSProperties["height"];
  /** Called once with the chart, to listen to it. May return what is to be done when it goes. */
  readonly onReady?: (chart: EChartsType) => (() => void) | undefined;
  /** Called before the first drawing, with the library at hand, for example to register a map. */
  readonly prepare?: () => Promise<void>;
}

/** A drawing by Apache ECharts, which is loaded when the first one is shown. It keeps the size of its box. */
export function Chart({ label, option, height, onReady, prepare }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<EChartsType>(undefined);
  const newest = useRef({ option, onReady, prepare });
  newest.current = { option, onReady, prepare };
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    let isGone = false;
    let end: (() => void) | undefined;
    let observer: ResizeObserver | undefined;
    const begin = async () => {
      const { init } = await import("./echarts.ts");
      await newest.current.prepare?.();
      if (isGone) return;
      const drawn = init(element);
      chart.current = drawn;
      drawn.setOption(newest.current.option);
      end = newest.current.onReady?.(drawn);
      observer = new ResizeObserver(() => drawn.resize());
      observer.observe(element);
    };
    void begin();
    return () => {
      isGone = true;
      observer?.disconnect();
      end?.();
      chart.current?.dispose();
      chart.current = undefined;
    };
  }, []);
  useEffect(() => {
    // What is no longer in the option goes; what stays keeps its place and zoom.
    chart.current?.setOption(option, { replaceMerge: replaced.filter((part) => part in option) });
  }, [option]);
  return <Box ref={box} role="img" aria-label={label} h={height} w="100%" />;
}

const replaced = ["series", "grid", "xAxis", "yAxis", "title"];
