import { createHash } from "node:crypto";
import type { Frame, ParsedStack } from "./frame.ts";
import { parseKernelStack } from "./kernel-stack.ts";
import { parseJavaScriptStack, parseJavaStack, parsePythonStack, parseRustStack } from "./managed-stacks.ts";
import { parseNativeStack } from "./native-stack.ts";
import { normaliseText } from "./normalise.ts";
import { recogniseStack, type StackKind } from "./stack-kind.ts";

/** What of an error report tells its cause. */
export interface ReportedError {
  readonly code: string;
  readonly message: string;
  /** Empty if unknown. */
  readonly stack: string;
}

/** What errors of one cause have in common. */
export interface Fingerprint {
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  readonly stackKind: StackKind;
  /** A line for people, of at most {@link maxTitleLength} characters: where it happened, or the message. */
  readonly title: string;
}

/** Changes whenever the same report gets another fingerprint than before; it is part of what is digested. */
export const fingerprintVersion = 1;

/** Characters of a title. */
export const maxTitleLength = 200;

/**
 * Recognises errors that have the same cause, whatever the addresses, lines, build folders and process ids. The digest
 * covers the code, the kind of stack, the class of the fault and the innermost frames of the device's own code; without a
 * stack the normalised message; with one that no parser understands its first lines, normalised.
 *
 * Never throws, and takes time linear in the length of its input, of which it reads at most {@link maxStackLength}
 * characters: devices send what they like.
 */
export function fingerprintOf({ code, message, stack }: ReportedError): Fingerprint {
  const lines = stack.slice(0, maxStackLength).split("\n", maxLines).map(cut);
  const stackKind = recogniseStack(lines);
  const { fault, frames } = parse(stackKind, lines);
  const top = innermost(frames);
  const parts =
    top.length > 0 ? [fault, ...top.map(({ symbol }) => symbol)] : wordsOf(stackKind, message, lines);
  const text = JSON.stringify([fingerprintVersion, code, stackKind, ...parts]);
  return {
    sha256: createHash("sha256").update(text).digest("hex"),
    stackKind,
    title: titleOf(code, message, fault, top[0]),
  };
}

/** What a stack may have by the contract. */
const maxStackLength = 16_000;

/** Lines of a stack that are looked at, far more than any runtime prints frames. */
const maxLines = 1_000;

/** Characters of a line that are looked at: a C++ or Rust name with all its type parameters. */
const maxLineLength = 1_000;

/** Frames that make a place: enough to tell callers apart, few enough that another way to get there is the same fault. */
const topFrames = 5;

/** Lines that stand for a stack in no known format. */
const topLines = 5;

function cut(line: string): string {
  return line.length > maxLineLength ? line.slice(0, maxLineLength) : line.trimEnd();
}

function parse(kind: StackKind, lines: readonly string[]): ParsedStack {
  switch (kind) {
    case "native":
      return parseNativeStack(lines);
    case "python":
      return parsePythonStack(lines);
    case "javascript":
      return parseJavaScriptStack(lines);
    case "rust":
      return parseRustStack(lines);
    case "java":
      return parseJavaStack(lines);
    case "kernel":
      return parseKernelStack(lines);
    case "none":
    case "other":
      return { fault: "", frames: [] };
  }
}

/** The device's own innermost frames, or any if none is its own; recursion counts once. */
function innermost(frames: readonly Frame[]): readonly Frame[] {
  const own = frames.filter(({ inApp }) => inApp);
  const top: Frame[] = [];
  for (const frame of own.length > 0 ? own : frames) {
    if (top.length === topFrames) break;
    if (top.at(-1)?.symbol !== frame.symbol) top.push(frame);
  }
  return top;
}

function wordsOf(kind: StackKind, message: string, lines: readonly string[]): string[] {
  if (kind === "none") return [normaliseText(message)];
  const words: string[] = [];
  for (const line of lines) {
    if (words.length === topLines) break;
    const normalised = normaliseText(line);
    if (normalised !== "") words.push(normalised);
  }
  return words;
}

function titleOf(code: string, message: string, fault: string, top: Frame | undefined): string {
  const line = (message.trimStart().split("\n", 1)[0] ?? "").trim();
  const title =
    top === undefined ? (line === "" ? code : `${code}: ${line}`) : `${fault || code} in ${top.symbol}`;
  return title.length > maxTitleLength ? `${title.slice(0, maxTitleLength - 1).toWellFormed()}…` : title;
}
