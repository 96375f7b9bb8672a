/** One measured figure beside its floor, taken in the same run. */
export interface BenchResult {
  readonly bench: string;
  readonly value: number;
  readonly unit: string;
  /** What the bare transport, transaction or file would cost for the same work; the same unit. */
  readonly floor: number;
  /** The target that the ratio must meet, as text, for example `<= 1.5`. */
  readonly target: string;
  /** How it was measured, in a few words. */
  readonly note: string;
}

/** The figure over its floor. */
function ratioOf(result: BenchResult): number {
  return result.value / result.floor;
}

/** One JSON object on one line, for programs. */
export function jsonLine(result: BenchResult): string {
  const { bench, value, unit, floor, target, note } = result;
  return JSON.stringify({ bench, value, unit, floor, ratio: ratioOf(result), target, note });
}

/** The results as a table for people. */
export function table(results: readonly BenchResult[]): string {
  const header = ["bench", "value", "floor", "unit", "ratio", "target", "how"];
  const rows = results.map((result) => [
    result.bench,
    round(result.value),
    round(result.floor),
    result.unit,
    ratioOf(result).toFixed(2),
    result.target,
    result.note,
  ]);
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? "").length)),
  );
  return [header, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
