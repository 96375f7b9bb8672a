import type { ChartColors } from "./chart-colors.ts";

/** What every drawing of this console has in common. */
export function chartFrame(colors: ChartColors) {
  return { animation: false, textStyle: { color: colors.text, fontFamily: "inherit" } };
}
