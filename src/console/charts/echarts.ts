import { BarChart, LineChart, LinesChart, ScatterChart } from "echarts/charts";
import {
  AxisPointerComponent,
  GeoComponent,
  GridComponent,
  LegendComponent,
  MarkLineComponent,
  TitleComponent,
  TooltipComponent,
} from "echarts/components";
import { type EChartsType, init, registerMap, use as registerParts } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

// The parts of ECharts that the console draws with; all of it would be three times as much to load.
registerParts([
  AxisPointerComponent,
  BarChart,
  CanvasRenderer,
  GeoComponent,
  GridComponent,
  LegendComponent,
  LineChart,
  LinesChart,
  MarkLineComponent,
  ScatterChart,
  TitleComponent,
  TooltipComponent,
]);

export { type EChartsType, init, registerMap };
