import { dotnet } from "./dotnet.ts";
import { go } from "./go.ts";
import { java } from "./java.ts";
import { javaScript } from "./javascript.ts";
import { kernel } from "./kernel.ts";
import { plainLines } from "./log-lines.ts";
import { lua } from "./lua.ts";
import { microcontroller } from "./microcontroller.ts";
import { native } from "./native.ts";
import { python } from "./python.ts";
import { rust } from "./rust.ts";
import { nothing, type ParsedStack, type StackFormat, type StackKind } from "./stack.ts";

/** The text of a stack, understood as far as it is. */
export interface ReadStack extends ParsedStack {
  readonly kind: StackKind;
  /** Without what loggers put before them. */
  readonly lines: readonly string[];
}

/**
 * Reads a stack in whichever form it is. Never throws, and takes time linear in the length of the text, of which it reads a
 * bounded number of lines and characters of each: devices send what they like.
 */
export function readStack(text: string): ReadStack {
  const lines = plainLines(text);
  if (lines.every((line) => line.trim() === "")) return { kind: "none", lines, ...nothing };
  for (const format of formats) {
    if (!lines.some((line) => format.sign(line))) continue;
    const found = format.parse(lines);
    if (found.frames.length > 0) return { kind: format.kind, lines, ...found };
  }
  return { kind: "other", lines, ...nothing };
}

/** The more particular forms first: a kernel log may hold anything, and a panic of Rust lines like those of a debugger. */
export const formats: readonly StackFormat[] = [
  microcontroller,
  kernel,
  go,
  rust,
  python,
  java,
  dotnet,
  lua,
  javaScript,
  native,
];
