import { normaliseText } from "../words/normalise-text.ts";
import { fileName, folderName, normaliseSymbol } from "./names.ts";
import type { Frame, ParsedStack, StackFormat } from "./stack.ts";

/**
 * A Rust panic with its backtrace, short or full, or without; and the backtrace of an error (anyhow, eyre). The fault is the
 * entry of the panic machinery, which tells a bad index from an `unwrap`. A second panic that follows from the first is left
 * out. Without a backtrace the place is the file and the column, which a line that moves keeps, with the message.
 */
export const rust: StackFormat = {
  kind: "rust",
  sign: (line) =>
    panicked.test(line) ||
    heading.test(line) ||
    /^note: .{0,100}RUST_BACKTRACE|^thread '.{0,100}' has overflowed its stack/.test(line),
  parse(lines) {
    const { fault, frames } = backtraceOf(lines);
    return frames.length > 0 ? { fault, frames } : withoutBacktrace(lines);
  },
};

/** `thread 'main' (2499) panicked at src/main.rs:2:57:`; before Rust 1.73 `panicked at 'message', src/main.rs:2:57`. */
const panicked = /^thread '.{0,100}'(?: \(\d{1,10}\))? panicked at (.{0,900})$/;

function backtraceOf(lines: readonly string[]): ParsedStack {
  const frames: Frame[] = [];
  let fault = "";
  let last = -1;
  // The causes of an error are numbered too, and stand before its stack.
  const begin = lines.findIndex((line) => heading.test(line)) + 1;
  for (let index = begin; index < lines.length; index++) {
    const match = numbered.exec(lines[index] ?? "");
    if (match === null) continue;
    const number = Number(match[1]);
    const place = lines[index + 1] ?? "";
    if (number <= last) break;
    last = number;
    const symbol = normaliseSymbol(match[2] ?? "");
    const inApp = !rustSystem.test(symbol) && !notOwnSource.test(place);
    if (!inApp && frames.every((frame) => !frame.inApp)) fault = rustEntry.exec(symbol)?.[1] ?? fault;
    frames.push({
      symbol,
      inApp,
      detail: symbol.endsWith("{closure}") ? /:(\d{1,9})$/.exec(place)?.[1] : undefined,
    });
  }
  return frames.some(({ symbol }) => symbol.includes("::")) ? { fault, frames } : { fault: "", frames: [] };
}

const heading = /^stack backtrace:$/i;
const numbered = /^\s*(\d{1,4}):\s+(?:0x[0-9a-f]{1,16} - )?(\S.{0,900})$/;
const notOwnSource = /^\s+at (?:\/rustc\/|.{0,200}\/\.cargo\/registry\/|.{0,200}\/rustlib\/)/;
const rustSystem =
  /^(?:<*&?(?:dyn )?(?:core|std|alloc|backtrace|__rustc|test|anyhow|eyre|color_eyre)::|_*rust_|_start|__libc_|main$|<unknown>|clone3?$|start_thread$|__)/;
const rustEntry =
  /^core::(?:\w{1,40}::){1,3}(panic_(?!fmt|display|str)\w{1,40}|\w{1,40}_fail(?:ed)?)(?:::|$)/;

function withoutBacktrace(lines: readonly string[]): ParsedStack {
  const overflown = lines.find((line) => line.includes("has overflowed its stack"));
  if (overflown !== undefined) return { fault: "stack overflow", frames: [] };
  const start = lines.findIndex((line) => panicked.test(line));
  const [, rest = ""] = panicked.exec(lines[start] ?? "") ?? [];
  const place = /(?:^|, )([^,']{1,500}):\d{1,9}:(\d{1,9}):?$/.exec(rest);
  if (place === null) return { fault: "", frames: [] };
  const [, path = "", column] = place;
  const old = rest.startsWith("'") ? rest.slice(1, Math.max(1, rest.lastIndexOf("'"))) : "";
  const message = old === "" ? (lines[start + 1] ?? "") : old;
  return {
    fault: `panic: ${normaliseText(withoutValue(message))}`,
    frames: [{ symbol: sourceOf(path), inApp: true, detail: column }],
  };
}

/** `called Result::unwrap() on an Err value: Os { code: 2 }`: the value is the occurrence's. */
function withoutValue(message: string): string {
  const at = message.indexOf(" value: ");
  return at < 0 ? message : message.slice(0, at);
}

/** The file, with its folder where many files have the name. */
function sourceOf(path: string): string {
  const name = fileName(path);
  return /^(?:mod|lib)\.rs$/.test(name) ? `${folderName(path)}/${name}` : name;
}
