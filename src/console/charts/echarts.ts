import { BarChart, LineChart, LinesChart, ScatterChart } from "echarts/charts";
import {
  AriaComponent,
  AxisPointerComponent,
  DataZoomComponent,
  GeoComponent,
  GridComponent,
  LegendComponent,
  MarkLineComponent,
  TitleComponent,
  ToolboxComponent,
  TooltipComponent,
} from "echarts/components";
import { type EChartsType, init, registerMap, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

// The parts of ECharts that the console draws with; all of it would be three times as much to load.
use([
  AriaComponent,
  AxisPointerComponent,
  BarChart,
  CanvasRenderer,
  DataZoomComponent,
  GeoComponent,
  GridComponent,
  LegendComponent,
  LineChart,
  LinesChart,
  MarkLineComponent,
  ScatterChart,
  TitleComponent,
  ToolboxComponent,
  TooltipComponent,
]);

export { type EChartsType, init, registerMap };
