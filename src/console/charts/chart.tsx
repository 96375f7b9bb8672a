import { Box, Text } from "@mantine/core";
import type { EChartsCoreOption } from "echarts/core";
import { type CSSProperties, type RefObject, useEffect, useEffectEvent, useRef, useState } from "react";
import type { EChartsType } from "./echarts.ts";

interface ChartProps {
  /** What it shows, for those who do not see it; the figures belong beside it as text. */
  readonly label: string;
  readonly option: EChartsCoreOption;
  readonly height: CSSProperties["height"];
  /** Gets the chart once it is drawn, and undefined when it goes. */
  readonly chartRef?: RefObject<EChartsType | undefined>;
  /** The events of ECharts to tell about. */
  readonly events?: readonly string[];
  readonly onEvent?: (chart: EChartsType, name: string, details: unknown) => void;
  /** Called before the first drawing, with the library at hand, for example to register a map. */
  readonly prepare?: () => Promise<void>;
}

/** A drawing by Apache ECharts, which is loaded when the first one is shown. It keeps the size of its box. */
export function Chart({ label, option, height, chartRef, events, onEvent, prepare }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<EChartsType>(undefined);
  const [hasFailed, setFailed] = useState(false);
  const getReady = useEffectEvent(() => prepare?.());
  const draw = useEffectEvent((drawn: EChartsType) => {
    drawn.setOption(option);
    if (chartRef !== undefined) chartRef.current = drawn;
    return events ?? [];
  });
  const tell = useEffectEvent((drawn: EChartsType, name: string, details: unknown) =>
    onEvent?.(drawn, name, details),
  );
  const forget = useEffectEvent(() => {
    if (chartRef !== undefined) chartRef.current = undefined;
  });
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    let isGone = false;
    let observer: ResizeObserver | undefined;
    const begin = async () => {
      const { init } = await import("./echarts.ts");
      await getReady();
      if (isGone) return;
      const drawn = init(element);
      chart.current = drawn;
      for (const name of draw(drawn)) drawn.on(name, (details) => tell(drawn, name, details));
      observer = new ResizeObserver(() => drawn.resize());
      observer.observe(element);
    };
    begin().catch(() => isGone || setFailed(true));
    return () => {
      isGone = true;
      observer?.disconnect();
      forget();
      chart.current?.dispose();
      chart.current = undefined;
    };
  }, []);
  useEffect(() => {
    // What is no longer in the option goes; what stays keeps its place and zoom.
    chart.current?.setOption(option, { replaceMerge: replaced.filter((part) => part in option) });
  }, [option]);
  if (hasFailed) {
    return (
      <Text size="sm" role="alert">
        The drawing could not be loaded. Load the page again.
      </Text>
    );
  }
  return <Box ref={box} role="img" aria-label={label} h={height} w="100%" />;
}

const replaced = ["series", "grid", "xAxis", "yAxis", "title"];
