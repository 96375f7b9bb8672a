import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fingerprintOf } from "../../../src/crash/fingerprint.ts";
import { maxLineLength, plainLines } from "../../../src/crash/stacks/log-lines.ts";
import { formats } from "../../../src/crash/stacks/read-stack.ts";
import { normaliseText } from "../../../src/crash/words/normalise-text.ts";

/** What the parsers look for, and what may make one that goes back over its steps do so again and again. */
const pieces: readonly string[] = (
  "/ a/ /a \\ a\\ 0x 0x1 :: $1 $$Lambda {closure {{closure}} < <> >d__ >b__ > (( ) () operator( [ ] [[ #0 #1 . .. - -- -a1 1. 1: :1 :1:2 " +
  "f a- .isra h1 [a1b2c3d4 ' \" ` “ «  _ZN _Z1 from at in at: @ @@ a@ | +- + +0x1 +0x1/0x2 { } , ; = == ==1== # ! ? % & * ~ ^ " +
  "kernel: Caused\u00A0by: Exception Error Error: TypeError: panic: goroutine thread ' panicked File \" line 1, BuildId: (BuildId: " +
  "pc PC PC: PC= Backtrace: Hard Fault ZEPHYR eyJ eyJ. https:// a:// T00:00 2024-01-01 Jan 1h 1m 1s ms 00:00 :: ::1 fe80: a1: 0.0. 1,1 " +
  "E/ E( <1> <13> [1.2] std:: webpack:// node_modules/ site-packages/ --- ---> BUG: RIP: epc NIP"
)
  .split(" ")
  .filter((piece) => piece !== "")
  .map((piece) => piece.replace("\u00A0", " "));

const blank = fc.constantFrom("", " ", "  ", "\t");

/** How lines begin of which a parser reads the rest. */
const lead = fc.constantFrom(
  "",
  "#0 ",
  "#0  0x1 in ",
  "#00 pc 00000001  /a ",
  " 0  a!",
  " 0# ",
  '#0    Source "',
  '#0    Object "a", at 0x1, in ',
  "frame #0: 0x1 a`",
  "==1==    at 0x1: ",
  "PC: @     0x1  (unknown)  ",
  "    at ",
  "   at A.B(",
  "\tat a.b(",
  "Caused by: ",
  '  File "',
  '  File "a", line 1, in ',
  "  | ",
  "thread 'x' panicked at ",
  "   0: ",
  "panic: ",
  "main.f(",
  "\t/a.go:",
  "RIP: 0010:",
  " a+0x",
  "[<c0000000>] (",
  "Backtrace: ",
  "ASSERTION FAIL [",
  "\tmain.lua:1: in ",
  "2024-01-05T12:00:00Z ",
  "01-05 12:00:00.123  4711  4711 E ",
  "\u001B[",
);

/** A line that repeats one to three pieces to its end. */
const line = fc
  .tuple(
    lead,
    fc.array(
      fc.tuple(fc.constantFrom(...pieces), blank).map(([piece, space]) => piece + space),
      { minLength: 1, maxLength: 3 },
    ),
  )
  .map(([begin, parts]) => {
    const unit = parts.join("");
    return begin + unit.repeat(Math.ceil(maxLineLength / unit.length)).slice(0, maxLineLength - begin.length);
  });

const hostileLines = fc.sample(line, { seed: 20_240_105, numRuns: 4_000 });

/** Whatever the machine does besides: processor time in milliseconds. */
function cost(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  return process.cpuUsage(before).user / 1_000;
}

/**
 * Each of the lines repeated is some 50 KiB. A parser that goes back over its steps needs a million steps a line, and so
 * seconds; each takes a few milliseconds at most.
 */
const linesEach = 50;
const mostMs = 250;

describe("a parser of stacks takes no longer for hostile text", () => {
  it.each(formats.map((format) => [format.kind, format] as const))("%s", (_, format) => {
    const slow = hostileLines.filter((text, index) => {
      if (index % 4 !== 0) return false;
      const lines = Array.from({ length: linesEach }, () => text);
      return cost(() => [lines.some((each) => format.sign(each)), format.parse(lines)]) > mostMs;
    });
    expect(slow).toEqual([]);
  });

  it("taking loggers' prefixes off", () => {
    const slow = hostileLines.filter(
      (text) => cost(() => plainLines(`${text}\n`.repeat(linesEach))) > mostMs,
    );
    expect(slow).toEqual([]);
  });

  it("normalising words", () => {
    const slow = hostileLines.filter(
      (text, index) => index % 8 === 0 && cost(() => normaliseText(text.repeat(4))) > mostMs,
    );
    expect(slow).toEqual([]);
  });

  it("with 1 MiB of lines that differ", () => {
    const text = hostileLines.join("\n").slice(0, 1024 * 1024);
    expect(text).toHaveLength(1024 * 1024);
    for (const format of formats) {
      const lines = text.split("\n");
      expect(
        cost(() => [lines.some((each) => format.sign(each)), format.parse(lines)]),
        format.kind,
      ).toBeLessThan(4_000);
    }
    expect(cost(() => fingerprintOf({ code: "X", message: text, stack: text }))).toBeLessThan(1_000);
  });
});
