import { normaliseText } from "../words/normalise-text.ts";
import type { Frame, ParsedStack, StackFormat } from "./stack.ts";

/**
 * What Go's runtime prints of a panic or fatal error, what `net/http` logs of a handler's, and `debug.Stack()` of one that
 * was recovered. The goroutine that panicked stands first; the frames above its (first) panic are the recovery's.
 */
export const go: StackFormat = {
  kind: "go",
  sign: (line) => goroutine.test(line),
  parse(lines) {
    const goroutines: GoFrame[][] = [];
    let fault = "";
    let ended = false;
    for (const line of lines) {
      if (goroutine.test(line)) {
        goroutines.push([]);
        ended = false;
        continue;
      }
      const frames = goroutines.at(-1);
      if (frames === undefined || ended) {
        fault ||= faultOf(line);
        continue;
      }
      ended = line.startsWith("created by ");
      const place = sourceLine.exec(line);
      const last = frames.at(-1);
      if (place !== null && last !== undefined) last.path ||= place[1] ?? "";
      else if (!ended && line.endsWith(")")) frames.push({ name: functionName(line), path: "" });
    }
    const stacks = goroutines.map(framesOf);
    const frames =
      stacks.find((stack) => stack.some(({ inApp }) => inApp)) ?? stacks.find((stack) => stack.length > 0);
    return { fault: fault || "panic", frames: frames ?? [] } satisfies ParsedStack;
  },
};

interface GoFrame {
  readonly name: string;
  path: string;
}

const goroutine = /^goroutine \d{1,20} (?:gp=\S{1,20} m=\S{1,20} (?:mp=\S{1,20} )?)?\[/;
const sourceLine = /^\s{1,8}(\S.{0,900}):\d{1,9}(?: .{0,200})?$/;

/** `main.(*Sensor).Read(0xc000012345, {0x1, 0x2})` without its arguments. */
function functionName(line: string): string {
  let depth = 0;
  for (let at = line.length - 1; at > 0; at--) {
    if (line[at] === ")") depth++;
    else if (line[at] === "(" && --depth === 0) return line.slice(0, at).trim();
  }
  return line;
}

function framesOf(frames: readonly GoFrame[]): Frame[] {
  const panicked = frames.findLastIndex(({ name }) => name === "panic" || name === "runtime.gopanic");
  return frames
    .slice(panicked + 1)
    .filter(({ name }) => name !== "")
    .map(({ name, path }) => ({ symbol: name.replace(/-fm$/, ""), inApp: isOwn(name, path) }));
}

function isOwn(name: string, path: string): boolean {
  const [root = ""] = name.split(/[./]/, 1);
  // Modules that others publish are kept in a cache, or copied into `vendor`.
  if (/\/pkg\/mod\/|\/vendor\/|@v\d/.test(path) || /\.(?:gowrap|deferwrap)\d{1,6}$/.test(name)) return false;
  return !standardPackages.has(root);
}

/** The first parts of the paths of the standard library's packages. */
const standardPackages: ReadonlySet<string> = new Set(
  (
    "archive bufio bytes cmp compress container context crypto database debug embed encoding errors expvar flag fmt go hash " +
    "html image index internal io iter log maps math mime net os path plugin reflect regexp runtime slices sort strconv " +
    "strings structs sync syscall testing text time unicode unique unsafe vendor weak panic"
  ).split(" "),
);

/** The runtime's own faults have their words; what a program panics with is its message, and any text. */
function faultOf(line: string): string {
  const runtime = /(?:^|[ :])(?:runtime error|fatal error): (\S.{0,300})$/.exec(line)?.[1];
  if (runtime !== undefined) return normaliseText(withoutRecovered(runtime));
  const text = /(?:^panic: |panic serving \S{1,100}: )(\S.{0,300})$/.exec(line)?.[1];
  if (text === undefined) return "";
  if (runtimePanics.test(text)) return normaliseText(withoutRecovered(text));
  return /^(?:&|\(\*?)?([a-z]\w{0,60}\.[A-Z]\w{0,60})[{)]/.exec(text)?.[1] ?? "panic";
}

const runtimePanics =
  /^(?:interface conversion: |assignment to entry in nil map|close of (?:closed|nil) channel|send on closed channel|sync: )/;

function withoutRecovered(text: string): string {
  const at = text.indexOf(" [recovered");
  return at < 0 ? text : text.slice(0, at);
}
