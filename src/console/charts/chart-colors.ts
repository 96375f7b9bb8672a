import { useComputedColorScheme } from "@mantine/core";

/** The colours of a drawing: a canvas knows no CSS variables. */
export interface ChartColors {
  readonly text: string;
  readonly dimmed: string;
  readonly line: string;
  readonly surface: string;
  readonly land: string;
  readonly good: string;
  readonly busy: string;
  readonly warn: string;
  readonly bad: string;
  /** For things of one kind side by side, as versions: apart for colour-blind eyes (after Okabe and Ito). */
  readonly series: readonly string[];
}

/** The colours that fit the scheme in force. */
export function useChartColors(): ChartColors {
  return useComputedColorScheme("light") === "dark" ? dark : light;
}

const light: ChartColors = {
  text: "#1f2229",
  dimmed: "#5c6370",
  line: "#dee2e6",
  surface: "#ffffff",
  land: "#e3e7ec",
  good: "#2b8a3e",
  busy: "#1864ab",
  warn: "#b35900",
  bad: "#c92a2a",
  series: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#5c6370", "#7048e8"],
};

const dark: ChartColors = {
  text: "#d7dae0",
  dimmed: "#9aa1ae",
  line: "#2c3039",
  surface: "#1b1e23",
  land: "#333944",
  good: "#51cf66",
  busy: "#74c0fc",
  warn: "#ffc078",
  bad: "#ff8787",
  series: ["#56b4e9", "#ff9f5a", "#2fd0a5", "#e89ac7", "#f0e442", "#8ab4f8", "#9aa1ae", "#b197fc"],
};
