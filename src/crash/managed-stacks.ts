import type { Frame, ParsedStack } from "./frame.ts";
import { fileName, normaliseSymbol } from "./normalise.ts";

/**
 * Reads a Python traceback. Frames come outermost first. Of chained exceptions the cause counts if it is named as the
 * cause; one that only happened meanwhile does not.
 */
export function parsePythonStack(lines: readonly string[]): ParsedStack {
  let section: Frame[] = [];
  let found: ParsedStack | undefined;
  let open = false;
  for (const line of lines) {
    if (line.includes("Traceback (most recent call last):")) {
      section = [];
      open = true;
      continue;
    }
    if (line.startsWith("The above exception was the direct cause")) break;
    const frame = pythonFrame(line);
    if (frame !== undefined) {
      section.push(frame);
      open = true;
      continue;
    }
    const fault = open ? pythonFault.exec(line)?.[1] : undefined;
    if (fault !== undefined) {
      found = { fault, frames: section.toReversed() };
      open = false;
    }
  }
  return found ?? { fault: "", frames: section.toReversed() };
}

/** Not indented: `KeyError: 'a'`, `json.decoder.JSONDecodeError: …`, `KeyboardInterrupt`. */
const pythonFault = /^([A-Za-z_][\w.]{0,200})(?::\s|$)/;

function pythonFrame(line: string): Frame | undefined {
  const match = /^\s*File "(.{1,500})", line \d+, in (\S{1,200})/.exec(line);
  if (match === null) return undefined;
  const [, path = "", name = ""] = match;
  return {
    symbol: `${pythonModule(path)}.${name}`,
    inApp: !/^<frozen |[/\\](?:lib(?:64|32)?[/\\]python\d|site-packages[/\\]|dist-packages[/\\])/i.test(path),
  };
}

function pythonModule(path: string): string {
  const name = fileName(path).replace(/\.py[co]?$/, "");
  return name === "__init__"
    ? fileName(path.slice(0, Math.max(0, path.length - "/__init__.py".length)))
    : name;
}

/** Reads an Error of V8, as Node.js prints it. Of errors with causes the innermost counts: its frames are complete. */
export function parseJavaScriptStack(lines: readonly string[]): ParsedStack {
  let fault = "";
  let candidate = "";
  let frames: Frame[] = [];
  let inFrames = false;
  for (const line of lines) {
    const frame = javaScriptFrame(line);
    if (frame === undefined) {
      if (/^\s+\.\.\. \d+ lines/.test(line)) continue;
      candidate = javaScriptFault.exec(line)?.[1] ?? candidate;
      inFrames = false;
      continue;
    }
    if (!inFrames) {
      if (candidate !== "" || frames.length === 0) {
        fault = candidate === "" ? fault : candidate;
        frames = [];
      }
      candidate = "";
      inFrames = true;
    }
    frames.push(frame);
  }
  return { fault, frames };
}

const javaScriptFault =
  /^(?:\s{0,8}\[?(?:cause|errors)\]?: )?(?:Uncaught )?(?:\[)?((?:[A-Za-z_$][\w$.]{0,100})?(?:Error|Exception))\b/;

function javaScriptFrame(line: string): Frame | undefined {
  if (!/^\s+at /.test(line)) return undefined;
  const text = line
    .trim()
    .slice("at ".length)
    .replace(/ \{$/, "")
    .replace(/^async /, "");
  const open = text.endsWith(")") ? text.lastIndexOf(" (") : -1;
  const place = open < 0 ? text : text.slice(open + 2, -1);
  const name = open < 0 ? "<anonymous>" : text.slice(0, open).replace(/ \[as [^\]]{1,100}\]$/, "");
  const path = place.replace(/(?::\d+){1,2}$/, "");
  const isOwn =
    path !== "<anonymous>" && path !== "native" && !/^node:|^internal\/|[/\\]node_modules[/\\]/.test(path);
  const file = fileName(path).replace(/\.[cm]?[jt]sx?$/, "");
  return { symbol: `${file}:${normaliseSymbol(name.replace(/^new /, ""))}`, inApp: isOwn };
}

/**
 * Reads a Java stack trace. Of causes the innermost counts; `... n more` stands for the last n frames of what it caused
 * (java.lang.Throwable.printStackTrace).
 */
export function parseJavaStack(lines: readonly string[]): ParsedStack {
  let fault = "";
  let outer: readonly Frame[] = [];
  let frames: Frame[] = [];
  for (const line of lines) {
    const match = /^\s*at ([^\s(]{1,500})\(/.exec(line);
    if (match !== null) {
      frames.push(javaFrame(match[1] ?? ""));
      continue;
    }
    const more = /^\s*\.\.\. (\d{1,4}) (?:more|common frames omitted)/.exec(line);
    if (more !== null) {
      frames.push(...outer.slice(Math.max(0, outer.length - Number(more[1]))));
      continue;
    }
    // What was suppressed while closing resources is not why.
    if (/^\s*Suppressed: /.test(line)) break;
    const header = /^(?:Caused by: |Exception in thread ".{0,200}" )?([A-Za-z_][\w$.]{0,300})(?::\s|$)/.exec(
      line,
    );
    if (header === null || !(header[1] ?? "").includes(".")) continue;
    if (line.startsWith("Caused by: ")) {
      outer = frames;
      frames = [];
    } else if (frames.length > 0) {
      break;
    }
    fault = normaliseSymbol(header[1] ?? "");
  }
  return { fault, frames };
}

function javaFrame(place: string): Frame {
  // `java.base/java.lang.Thread.run`, `app//com.example.Agent.poll`.
  const symbol = normaliseSymbol(place.slice(place.lastIndexOf("/") + 1));
  return { symbol, inApp: !javaSystem.test(symbol) };
}

const javaSystem =
  /^(?:java|javax|jdk|sun|com\.sun|kotlin|kotlinx\.coroutines|scala|groovy|android|androidx|com\.android|dalvik|libcore)\./;

/**
 * Reads a Rust panic with its backtrace, short or full. The fault is the entry of the panic machinery, which tells a bad
 * index from an `unwrap`. A second panic that follows from the first is left out.
 */
export function parseRustStack(lines: readonly string[]): ParsedStack {
  const frames: Frame[] = [];
  let fault = "";
  let last = -1;
  for (const [index, line] of lines.entries()) {
    const match = /^\s*(\d{1,4}):\s+(?:0x[0-9a-f]+ - )?(\S.{0,1500})$/.exec(line);
    if (match === null) continue;
    const number = Number(match[1]);
    if (number <= last) break;
    last = number;
    const symbol = normaliseSymbol(match[2] ?? "");
    const inApp = !rustSystem.test(symbol) && !(lines[index + 1] ?? "").includes(" at /rustc/");
    if (!inApp && frames.every((frame) => !frame.inApp)) fault = rustEntry.exec(symbol)?.[1] ?? fault;
    frames.push({ symbol, inApp });
  }
  return { fault, frames };
}

const rustSystem =
  /^(?:<*&?(?:dyn )?(?:core|std|alloc|backtrace|__rustc|test)::|rust_begin_unwind|_+rust_|_start|__libc_|main$|<unknown>)/;
const rustEntry =
  /^core::(?:\w{1,40}::){1,3}(panic_(?!fmt|display|str)\w{1,40}|\w{1,40}_fail(?:ed)?)(?:::|$)/;
