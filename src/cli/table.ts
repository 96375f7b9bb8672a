import Table from "cli-table3";
import type { Terminal } from "./terminal.ts";

/** One column of a {@link renderTable}. */
export interface Column<T> {
  readonly title: string;
  /** The cell's text; what came from outside must have gone through `cleanText`. */
  readonly text: (item: T) => string;
  readonly align?: "left" | "right";
}

/** A table without rules, so that its columns can be read by people and cut by scripts. */
export function renderTable<T>(
  terminal: Terminal,
  columns: readonly Column<T>[],
  items: readonly T[],
): string {
  const table = new Table({
    head: columns.map(({ title }) => terminal.paint("bold", title.toUpperCase())),
    colAligns: columns.map(({ align }) => align ?? "left"),
    chars: NO_RULES,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 2, compact: true },
  });
  for (const item of items) table.push(columns.map(({ text }) => text(item)));
  return trimLines(table.toString());
}

/** A list of names and values, for one thing. Values that are undefined are left out. */
export function renderFacts(
  terminal: Terminal,
  facts: readonly (readonly [name: string, value: string | undefined])[],
): string {
  const shown = facts.filter((fact): fact is readonly [string, string] => fact[1] !== undefined);
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown
    .map(([name, value]) => `${terminal.paint("dim", name.padEnd(width))}  ${value}`.trimEnd())
    .join("\n");
}

const NO_RULES = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "",
};

function trimLines(text: string): string {
  return text
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}
