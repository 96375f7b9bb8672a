import type { ValueWriters } from "../../policy/field-text.ts";
import { bytes, duration, percent } from "../ui/format.ts";

/** How the console writes the values of a rollout's policy and of its gates. */
export const policyWriters: ValueWriters = {
  percent,
  number: (value) => numbers.format(value),
  durationMs: (value) => duration(value / 1_000),
  bytes,
  time: (value) => value.toLocaleString(),
};

/** A chance of a false alarm has four decimals. */
const numbers = new Intl.NumberFormat("en", { maximumFractionDigits: 4 });
