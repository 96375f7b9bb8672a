import { normaliseText } from "../words/normalise-text.ts";
import { firstGroup } from "./first-group.ts";
import { fileName, normaliseSymbol } from "./names.ts";
import type { Frame, ParsedStack, StackFormat } from "./stack.ts";

/**
 * What ESP-IDF, the ESP8266, Zephyr, FreeRTOS, Mbed, CmBacktrace and other firmware print of a fault: a reason, registers, and
 * at best the addresses of a backtrace. An address names a place in one build of one program, so the ELF file's digest belongs
 * to it where it is printed. Registers other than the program counter, stack pointers, cores and tasks are the occurrence's.
 */
export const microcontroller: StackFormat = {
  kind: "microcontroller",
  sign: (line) => faultSigns.test(line) || hardFault.test(line),
  parse(lines) {
    const buildId = firstGroup(lines, elfDigest)?.toLowerCase() ?? "";
    const fault = faultsOf(lines);
    const asserted = assertionOf(lines);
    if (asserted !== undefined) return { fault: fault || "assertion", frames: [asserted] };
    const addresses = backtraceOf(lines) ?? registersOf(lines);
    return {
      fault,
      frames: addresses.map(({ name, pc }) => frameAt(pc, name, buildId)),
    } satisfies ParsedStack;
  },
};

const faultSigns =
  /^(?:Guru Meditation Error|abort\(\) was called at PC|assert failed: |ESP_ERROR_CHECK failed|Backtrace: ?0x|\*\*\*ERROR\*\*\* A stack overflow|Exception \(\d{1,3}\):|Fatal exception \(?\d{1,3}|Task watchdog got triggered|CORRUPT HEAP|Brownout detector)|Task watchdog got triggered|>>> ZEPHYR FATAL ERROR|\*{5} [A-Z ]{3,30} FAULT \*{5}|Faulting instruction address|ASSERTION FAIL \[|\+\+ MbedOS (?:Fault Handler|Error Info) \+\+|FATAL EXCEPTION$|EXCCAUSE \d|\bmcause ?[:=]|Show more call stack info by run: addr2line/;
const hardFault =
  /\b(?:Hard|Bus|Mem(?:ory)?Manage|Mem|Usage|Secure)[ _]?[Ff]ault(?:_Handler)?\b|\bHARDFAULT\b|\bCFSR\s?[:=]/;

const elfDigest = /^ELF file SHA256: {1,4}([0-9a-fA-F]{7,64})/;

/** What went wrong, in the words of each system, without which core or task it was. */
const reasons: readonly RegExp[] = [
  /^Guru Meditation Error: Core {1,3}\d panic'ed \(([^)]{1,100})\)/,
  /^Debug exception reason: ([A-Za-z ]{1,80})/,
  /^(abort\(\) was called)/,
  /^ESP_ERROR_CHECK failed: esp_err_t 0x[0-9a-f]{1,8} \((\w{1,60})\)/,
  /(A stack overflow in task .{1,40}) has been detected/,
  /^(Exception \(\d{1,3}\)):/,
  /^(Fatal exception \(?\d{1,3}\)?)/,
  /(Task watchdog got triggered)/,
  /^(CORRUPT HEAP: [A-Za-z ]{1,40})/,
  /^(Brownout detector was triggered)/,
  /\*{5} ([A-Z ]{3,30} FAULT) \*{5}/,
  /^\s{0,8}((?:Data Access|Instruction Access) Violation|(?:Precise|Imprecise) data bus error|Instruction bus error|Unstacking error|Stacking error|Unaligned memory access|Division by zero|Stack overflow|Illegal use of the EPSR|Attempt to execute undefined instruction|Bus fault on vector table read|Debug event|Stack context area overflow)/i,
  /mcause ?[:=] ?\d{1,20}, ([A-Za-z/ -]{1,60})/,
  /EXCCAUSE (\d{1,3} \([^)]{1,60}\))/,
  />>> ZEPHYR FATAL ERROR \d{1,3}: ([A-Za-z ]{1,60}?)(?: on CPU \d{1,3})?$/,
  /^FaultType: (\w{1,40})/,
  /\b((?:Hard|Bus|Mem(?:ory)?Manage|Mem|Usage|Secure)[ _]?[Ff]ault)(?:_Handler)?\b/,
  /\bCFSR ?[:=] ?(?:0x)?([0-9a-fA-F]{1,8})\b/,
];

function faultsOf(lines: readonly string[]): string {
  const found = new Set<string>();
  for (const line of lines) {
    for (const reason of reasons) {
      const words = reason.exec(line)?.[1];
      if (words !== undefined) found.add(words.replace(/ on CPU ?\d$/, "").trim());
    }
    if (found.size >= maxReasons) break;
  }
  return [...found].slice(0, maxReasons).join(", ");
}

const maxReasons = 3;

/** An assertion says in which file and of what: no address is needed. */
function assertionOf(lines: readonly string[]): Frame | undefined {
  for (const line of lines) {
    const esp = /^assert failed: (?:(\w{1,100}) )?(\S{1,200}):\d{1,9} \((.{1,200})\)/.exec(line);
    if (esp !== null) return frameOfSource(esp[1] ?? "", esp[2] ?? "", esp[3] ?? "");
    const zephyr = /ASSERTION FAIL \[(.{1,300})\] @ (\S{1,300}):\d{1,9}/.exec(line);
    if (zephyr !== null) return frameOfSource("", zephyr[2] ?? "", zephyr[1] ?? "");
  }
  const checked = firstGroup(lines, /^expression: (.{1,200})/);
  if (checked === undefined) return undefined;
  return frameOfSource(
    firstGroup(lines, /^func: (\w{1,100})/) ?? "",
    firstGroup(lines, /^file: "(.{1,300})"/) ?? "",
    checked,
  );
}

function frameOfSource(name: string, path: string, condition: string): Frame {
  return {
    symbol: [fileName(path), ...(name === "" ? [] : [name])].join(":"),
    inApp: true,
    detail: normaliseText(condition),
  };
}

interface Place {
  readonly pc: bigint;
  /** What a monitor that has the ELF file wrote to the address; otherwise empty. */
  readonly name: string;
}

/** The addresses of the calls: `Backtrace: 0x400d1234:0x3ffb1f30 …`, or as arguments for addr2line. */
function backtraceOf(lines: readonly string[]): Place[] | undefined {
  const decoded = lines.flatMap((line) => decodedPlace(line) ?? []);
  if (decoded.length > 0) return decoded;
  for (const line of lines) {
    const list =
      /^Backtrace: ?(.{1,900})$/.exec(line)?.[1] ??
      /addr2line -e \S{1,200} (?:-\w{1,10} ){1,5}(.{1,900})$/.exec(line)?.[1];
    const addresses = [...(list ?? "").matchAll(/(?:^|\s)(?:0x)?([0-9a-fA-F]{8})(?::0x[0-9a-fA-F]{8})?/g)];
    if (addresses.length > 0) return addresses.map(([, pc]) => ({ pc: hexadecimal(pc), name: "" }));
  }
  return undefined;
}

/** idf.py monitor: `0x400d1234: read_sensor at /home/u/main/sensor.c:12`, with `--- ` before it or not. */
function decodedPlace(line: string): Place[] | undefined {
  const match = /^(?:--- )?(0x4[0-9a-f]{7}): (\S.{0,200}?) at .{1,400}:(?:\d{1,9}|\?)/.exec(line);
  return match === null ? undefined : [{ pc: hexadecimal(match[1]), name: normaliseSymbol(match[2] ?? "") }];
}

/** The program counter; where a call went to nowhere, the place that it came from. */
function registersOf(lines: readonly string[]): Place[] {
  const abort = firstGroup(lines, /^abort\(\) was called at PC 0x([0-9a-f]{8})/);
  const pc = abort ?? firstOf(lines, programCounters);
  const places = pc === undefined ? [] : [hexadecimal(pc)];
  if (places[0] !== undefined && isNowhere(places[0])) {
    const from = firstOf(lines, linkRegisters);
    if (from !== undefined) places.push(hexadecimal(from));
  }
  return places.map((address) => ({ pc: address, name: "" }));
}

const programCounters: readonly RegExp[] = [
  /Faulting instruction address(?: \(r15\/pc\))?: (?:0x)?([0-9a-fA-F]{1,16})\b/,
  /\b(?:MEPC|mepc|epc1|ELR_ELn|EIP|RIP) {0,8}[:=] ?(?:0x[0-9a-fA-F]{1,4}:)?(?:0x)?([0-9a-fA-F]{1,16})\b/,
  /(?:^|[^\w])(?:r15|R15|pc|PC|r15\/pc|stacked_pc)\)? {0,8}[:=] {0,8}(?:0x)?([0-9a-fA-F]{4,16})\b/,
  /\*\* {1,4}PC (?:0x)?([0-9a-fA-F]{4,16})\b/,
];
const linkRegisters: readonly RegExp[] = [
  /(?:^|[^\w])(?:r14\/lr|r14|R14|lr|LR|RA|ra|stacked_lr) {0,8}[:=] {0,8}(?:0x)?([0-9a-fA-F]{4,16})\b/,
];

/** Null and what no memory has. */
function isNowhere(address: bigint): boolean {
  return address < 0x100n || (address >= 0xf0000000n && address <= 0xffffffffn);
}

function frameAt(pc: bigint, name: string, buildId: string): Frame {
  const address = `0x${pc.toString(16)}`;
  if (name !== "") return { symbol: name, inApp: !isPanicMachinery(name) };
  const build = buildId === "" ? "" : ` of ${buildId.slice(0, 9)}`;
  return { symbol: `${address}${build}`, inApp: true, address: { module: "", buildId, offset: pc } };
}

/** Whether a function only reports a fault, or started the program. */
export function isPanicMachinery(name: string): boolean {
  return panicMachinery.test(name);
}

const panicMachinery =
  /^(?:panic_abort|esp_system_abort|abort|__assert_func|_esp_error_check_failed\w{0,20}|vPortTaskWrapper|esp_startup_start_app\w{0,20}|main_task)$/;

function firstOf(lines: readonly string[], expressions: readonly RegExp[]): string | undefined {
  for (const expression of expressions) {
    const found = firstGroup(lines, expression);
    if (found !== undefined) return found;
  }
  return undefined;
}

function hexadecimal(digits = "0"): bigint {
  return BigInt(digits.startsWith("0x") ? digits : `0x${digits}`);
}
