import { createHash } from "node:crypto";
import { conditionsText, type GroupingRule, type RuleSubject, ruleHolds } from "./grouping-rule.ts";
import { namedFrame } from "./stacks/named-frame.ts";
import { withoutOrdinals } from "./stacks/names.ts";
import { type ReadStack, readStack } from "./stacks/read-stack.ts";
import type { CodeAddress, Frame, StackKind, UnnamedCall } from "./stacks/stack.ts";
import { normaliseText } from "./words/normalise-text.ts";

/** What of an error report tells its cause. */
export interface ReportedError {
  readonly code: string;
  readonly message: string;
  /** Empty if unknown. */
  readonly stack: string;
  /** What the device itself takes for the cause; absent or empty for nothing. */
  readonly fingerprint?: string | undefined;
  /** May name the build whose addresses are in the stack: `build_id`, GNU build id or the digest of the ELF file. */
  readonly context?: Readonly<Record<string, string>> | undefined;
}

/** What errors of one cause have in common. */
export interface Fingerprint {
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  readonly stackKind: StackKind;
  /** A line for people, of at most {@link maxTitleLength} characters: where it happened, or the message. */
  readonly title: string;
  /** For people: what exactly makes errors belong together, of at most 1,000 characters. */
  readonly groupedBy: string;
}

/** Changes whenever the same report gets another fingerprint than before; it is part of what is digested. */
export const fingerprintVersion = 2;

/** Characters of a title. */
export const maxTitleLength = 200;

/** Characters of what a group is grouped by. */
const maxGroupedByLength = 1_000;

/**
 * Recognises errors that have the same cause, whatever the addresses, lines, build folders and process ids. The digest
 * covers the code, the kind of stack, the class of the fault and the innermost frames of the device's own code; without a
 * stack the normalised message; with one that no parser understands its first lines, normalised. A message that is a stack is
 * read as one. Before that the first of the operators' rules that holds decides, and then the device's own fingerprint.
 *
 * Never throws, and takes time linear in the length of its input, of which it reads at most {@link maxTextLength}
 * characters: devices send what they like.
 */
export function fingerprintOf(report: ReportedError): Fingerprint {
  return fingerprintFrom(readReport(report), { rules: [] });
}

/** A report whose stack was read. */
export interface ReadReport {
  readonly report: ReportedError;
  readonly stack: ReadStack;
}

/** What else than the report decides. */
export interface Deciders {
  /** In the order in which they are tried. */
  readonly rules: readonly GroupingRule[];
  /** Names of functions for raw addresses. */
  readonly symbols?: { nameOf(address: CodeAddress): string | undefined } | undefined;
}

/** Reads the stack of a report, or the message if that is one. */
export function readReport(report: ReportedError): ReadReport {
  const { message, stack } = report;
  const isMessage = stack.trim() === "" && message.includes("\n");
  const read = readStack((isMessage ? message : stack).slice(0, maxTextLength));
  if (isMessage && read.frames.length === 0) return { report, stack: { ...read, kind: "none" } };
  const buildId = report.context?.["build_id"]?.toLowerCase() ?? "";
  return {
    report,
    stack: buildId === "" ? read : { ...read, frames: read.frames.map((frame) => ofBuild(frame, buildId)) },
  };
}

/** What the text of a stack does not say, the device may say beside it. */
function ofBuild(frame: Frame, buildId: string): Frame {
  const { symbol, address } = frame;
  if (address === undefined || address.buildId !== "") return frame;
  return { ...frame, symbol: `${symbol} of ${buildId.slice(0, 12)}`, address: { ...address, buildId } };
}

/** The calls that a stack leaves unnamed, the innermost first. */
export function unnamedCallsOf({ stack }: ReadReport): UnnamedCall[] {
  return stack.frames.flatMap((frame, index) => unnamedCall(frame, index) ?? []);
}

function unnamedCall({ address }: Frame, index: number): UnnamedCall | undefined {
  if (address === undefined) return undefined;
  return { ...address, instruction: index === 0 ? address.offset : address.offset - 1n };
}

/** The builds whose symbol files could name what a stack leaves unnamed. */
export function buildIdsOf(read: ReadReport): string[] {
  return unnamedCallsOf(read)
    .map(({ buildId }) => buildId)
    .filter((buildId) => buildId !== "");
}

/** {@link fingerprintOf} a report that was read. */
export function fingerprintFrom(
  { report, stack: read }: ReadReport,
  { rules, symbols }: Deciders,
): Fingerprint {
  const { code, message } = report;
  const stackKind = read.kind;
  const top = topOf(read, symbols);
  const title = titleOf(code, message, read.fault, top[0]);
  const subject = subjectFrom({ report, stack: read }, top);
  const rule = rules.find((each) => ruleHolds(each, subject));
  if (rule !== undefined) {
    const groupedBy = `rule “${rule.title}”: ${conditionsText(rule)}`;
    return fingerprint(["rule", rule.fingerprint], { stackKind, title: rule.title, groupedBy });
  }
  if (report.fingerprint) {
    const groupedBy = `the device's own fingerprint: ${report.fingerprint}`;
    return fingerprint(["device", code, report.fingerprint], { stackKind, title, groupedBy });
  }
  if (top.length > 0) {
    const places = top.map(placeOf);
    const groupedBy = placeText(stackKind, read.fault, places);
    return fingerprint([code, stackKind, read.fault, ...places], { stackKind, title, groupedBy });
  }
  const words = wordsOf(stackKind, message, read.lines);
  return fingerprint([code, stackKind, ...words], {
    stackKind,
    title,
    groupedBy: wordText(stackKind, words),
  });
}

/** What of a report the rules look at. */
export function subjectOf(read: ReadReport, symbols: Deciders["symbols"]): RuleSubject {
  return subjectFrom(read, topOf(read.stack, symbols));
}

function subjectFrom({ report, stack }: ReadReport, top: readonly Frame[]): RuleSubject {
  const { code, message } = report;
  return { code, message, fault: stack.fault, frames: top.map(({ symbol }) => symbol) };
}

function topOf({ fault, frames }: ReadStack, symbols: Deciders["symbols"]): readonly Frame[] {
  const told = symbols === undefined ? frames : frames.map((frame, index) => named(frame, index, symbols));
  return innermost(told, overflows.test(fault));
}

function fingerprint(digested: readonly string[], told: Omit<Fingerprint, "sha256">): Fingerprint {
  const text = JSON.stringify([fingerprintVersion, ...digested]);
  return {
    sha256: createHash("sha256").update(text).digest("hex"),
    stackKind: told.stackKind,
    title: shortened(told.title, maxTitleLength),
    groupedBy: shortened(told.groupedBy, maxGroupedByLength),
  };
}

function named(frame: Frame, index: number, symbols: NonNullable<Deciders["symbols"]>): Frame {
  const call = unnamedCall(frame, index);
  const name = call && symbols.nameOf({ ...call, offset: call.instruction });
  return name === undefined ? frame : namedFrame(name, frame.inApp);
}

/** More than a stack may have by the contract. */
const maxTextLength = 64 * 1024;

/** Frames that make a place: enough to tell callers apart, few enough that another way to get there is the same fault. */
const topFrames = 5;

/** Lines that stand for a stack in no known format. */
const topLines = 8;

/** Where calls that call each other run out of stack is chance. */
const overflows = /StackOverflow|RecursionError|stack overflow|stack-overflow/i;

/** The device's own innermost frames, or any if none is its own; recursion counts once. */
function innermost(frames: readonly Frame[], isOverflow: boolean): readonly Frame[] {
  const own = frames.filter(({ inApp }) => inApp);
  const calls = own.length > 0 ? own : frames;
  if (isOverflow) return cycleOf(calls);
  const top = new Map<string, Frame>();
  for (const { detail, symbol, ...frame } of calls) {
    if (top.size === topFrames) break;
    // Only the innermost place needs to be told apart from its like: a caller's closure is numbered anew with each one more.
    const name = top.size === 0 ? symbol : withoutOrdinals(symbol);
    if (!top.has(name))
      top.set(name, top.size === 0 ? { ...frame, symbol, detail } : { ...frame, symbol: name });
  }
  return [...top.values()];
}

/** The calls that call each other, in an order that does not depend on where the stack ended. */
function cycleOf(calls: readonly Frame[]): readonly Frame[] {
  const bySymbol = Map.groupBy(calls, ({ symbol }) => symbol);
  const repeated = [...bySymbol.values()].filter((same) => same.length > 1);
  return (repeated.length > 0 ? repeated : [...bySymbol.values()])
    .slice(0, topFrames)
    .flatMap(([frame]) => (frame === undefined ? [] : [{ ...frame, detail: undefined }]))
    .toSorted((a, b) => (a.symbol < b.symbol ? -1 : 1));
}

function placeOf({ symbol, detail }: Frame): string {
  return detail === undefined ? symbol : `${symbol} (${detail})`;
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
  return top === undefined ? (line === "" ? code : `${code}: ${line}`) : `${fault || code} in ${top.symbol}`;
}

function placeText(kind: StackKind, fault: string, places: readonly string[]): string {
  const [first, ...callers] = places;
  const called = callers.map((place) => `, called by ${place}`).join("");
  return `stack (${kind})${fault === "" ? "" : `: ${fault}`}, in ${first}${called}`;
}

function wordText(kind: StackKind, words: readonly string[]): string {
  return kind === "none" ? `message: ${words[0]}` : `text of no known form: ${words.join(" / ")}`;
}

function shortened(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1).toWellFormed()}…` : text;
}
