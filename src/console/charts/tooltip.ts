import type { ChartColors } from "./chart-colors.ts";

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

/** These words, as elements: the markup that ECharts would write has styles, which the content security policy forbids. */
export function tooltipLines(lines: readonly string[], title?: string): HTMLElement {
  const list = document.createElement("div");
  for (const [index, text] of [...(title === undefined ? [] : [title]), ...lines].entries()) {
    const row = document.createElement("div");
    row.textContent = text;
    if (index === 0 && title !== undefined) row.style.fontWeight = "600";
    list.append(row);
  }
  return list;
}
