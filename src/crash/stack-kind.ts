/** What the text of a stack was recognised as; the names are those of `ota.v1.StackKind`. */
export type StackKind = "none" | "native" | "python" | "javascript" | "rust" | "java" | "kernel" | "other";

/**
 * Recognises whose stack it is from its lines. The more particular formats come first: a kernel log may hold anything, and
 * a Rust panic may hold lines like those of a debugger.
 */
export function recogniseStack(lines: readonly string[]): StackKind {
  let kind: StackKind = "none";
  let best: number = signs.length;
  for (const line of lines) {
    if (line.trim() === "") continue;
    kind = kind === "none" ? "other" : kind;
    for (let index = 0; index < best; index++) {
      const sign = signs[index];
      if (sign !== undefined && sign.pattern.test(line)) {
        best = index;
        kind = sign.kind;
        break;
      }
    }
  }
  return kind;
}

/** Each is tried on one line of bounded length, and has no repetition within a repetition. */
const signs: readonly { readonly kind: StackKind; readonly pattern: RegExp }[] = [
  {
    kind: "kernel",
    pattern:
      /\b(?:Unable to handle kernel|BUG: (?:unable to handle|kernel|Bad page|scheduling while)|kernel BUG at|Kernel panic - not syncing|Internal error: |Oops: |general protection fault|watchdog: BUG|WARNING: CPU: )/,
  },
  { kind: "kernel", pattern: /^(?:.{0,200}[\]:] )?Call [Tt]race:\s*$/ },
  { kind: "rust", pattern: /^thread '.{0,200}panicked at |^note: .{0,100}RUST_BACKTRACE/ },
  { kind: "rust", pattern: /^stack backtrace:\s*$/ },
  { kind: "python", pattern: /Traceback \(most recent call last\):|^\s*File ".{1,500}", line \d+/ },
  {
    kind: "java",
    pattern:
      /^\s*at [^\s(]{1,500}\((?:[\w$-]{1,200}\.(?:java|kt|scala|groovy|clj)(?::\d+)?|Native Method|Unknown Source)\)/,
  },
  { kind: "javascript", pattern: /^\s+at .{0,800}:\d+:\d+\)?(?: \{)?\s*$/ },
  { kind: "javascript", pattern: /^\s+at .{0,800}\(<anonymous>\)\s*$/ },
  { kind: "native", pattern: /^\s*#\d+\s+\S/ },
  { kind: "native", pattern: /^\S.{0,500}\[0x[0-9a-f]+\]\s*$/ },
];
