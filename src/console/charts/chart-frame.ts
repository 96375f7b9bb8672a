import type { ChartColors } from "./chart-colors.ts";

/** What every drawing of this console has in common. */
export function chartFrame(colors: ChartColors) {
  return { animation: false, textStyle: { color: colors.text, fontFamily: "inherit" } };
}

/** How the words look that a drawing over time shows at the pointer. */
export function tooltipFrame(colors: ChartColors) {
  return {
    trigger: "axis" as const,
    confine: true,
    backgroundColor: colors.surface,
    borderColor: colors.line,
    textStyle: { color: colors.text, fontSize: 12 },
  };
}
