import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fingerprintOf } from "../src/crash/fingerprint.ts";
import type { BenchOptions } from "./harness/options.ts";
import type { BenchResult } from "./harness/result.ts";

/** Reports that runtimes printed, several of a kind; and one that a parser which goes back over its steps would choke on. */
const fixtures = join(import.meta.dirname, "../test/crash/fixtures");

/**
 * The processor's time for a report by its kind of stack, beside what nobody can do without: the lines of the text, each looked
 * at once, and a digest.
 */
export async function crashReports({ quick }: BenchOptions): Promise<BenchResult[]> {
  const texts = readdirSync(fixtures).map((file) => readFileSync(join(fixtures, file), "utf8"));
  const byKind = Map.groupBy(texts, (stack) => fingerprintOf({ ...crash, stack }).stackKind);
  byKind.set("other", [`${"#0 0x1 in f<a ( [0x".repeat(45)}\n`.repeat(18)]);
  byKind.set("none", [""]);
  return [...byKind].map(([kind, stacks]) => {
    const rounds = Math.ceil((quick ? 500 : 5_000) / stacks.length);
    return {
      bench: `crash-report-${kind}`,
      value: cost(stacks, rounds, (stack) => fingerprintOf({ ...crash, stack })),
      unit: "us a report",
      floor: cost(stacks, rounds, floorOf),
      target: "a millisecond, so that 16 in a heartbeat are no pause",
      note: `${Math.round(stacks.reduce((sum, { length }) => sum + length, 0) / stacks.length)} characters${kind === "other" ? ", hostile" : ""}; against a digest and a look at each line`,
    };
  });
}

const crash = { code: "CRASH", message: "sensor 17 at a4:c1:38:9b:00:1f timed out after 3 s" };

function floorOf(stack: string): unknown {
  const words = stack.split("\n").map((line) => line.trimEnd().includes("crash"));
  return [words, createHash("sha256").update(stack).digest("hex")];
}

function cost(stacks: readonly string[], rounds: number, work: (stack: string) => unknown): number {
  for (const stack of stacks) work(stack);
  const before = process.cpuUsage();
  for (let round = 0; round < rounds; round++) for (const stack of stacks) work(stack);
  return process.cpuUsage(before).user / (rounds * stacks.length);
}
