import { comparatorsOf, type FilterField, filterFields } from "./filter-fields.ts";

/** What can stand at a place of a filter. */
export interface Completion {
  /** The part of the text that a choice replaces. */
  readonly from: number;
  readonly to: number;
  readonly choices: readonly Choice[];
}

/** One thing that can stand there. */
export interface Choice {
  /** What is written. */
  readonly text: string;
  readonly hint: string;
}

/** Values that exist in the fleet, by field: the service knows them, the language does not. */
export type KnownValues = Readonly<Record<string, readonly string[]>>;

/**
 * What can stand at the caret: a field, a comparator, a value, or what joins tests. Only what begins with (for values:
 * contains) the half-written word before the caret. It helps with writing and judges nothing: the service does that.
 */
export function completeFilter(filter: string, caret: number, known: KnownValues): Completion {
  const words = wordsOf(filter.slice(0, caret));
  const last = words.at(-1);
  const isHalf =
    last !== undefined && last.end === caret && !/^[()]$/.test(last.text) && !isComparator(last.text);
  const half = isHalf ? last : undefined;
  const before = isHalf ? words.slice(0, -1) : words;
  const from = half?.at ?? caret;
  const typed = half?.text ?? "";
  return {
    from,
    to: endOfWord(filter, caret, half),
    choices: choicesAfter(before, typed, known).slice(0, most),
  };
}

/** A list that can be seen at once. */
const most = 12;

interface Word {
  readonly text: string;
  readonly at: number;
  readonly end: number;
}

function choicesAfter(before: readonly Word[], typed: string, known: KnownValues): readonly Choice[] {
  const previous = before.at(-1)?.text;
  if (previous !== undefined && isComparator(previous)) {
    const field = fieldOf(before.at(-2)?.text ?? "");
    return field === undefined ? [] : valuesOf(field, known).filter(({ text }) => isPart(typed, text));
  }
  const field = previous === undefined ? undefined : fieldOf(previous);
  const afterField = field !== undefined && !isComparator(before.at(-2)?.text ?? "");
  if (afterField) {
    return typed === ""
      ? comparatorsOf(field.kind).map((text) => ({ text, hint: comparatorHints[text] ?? "" }))
      : [];
  }
  const begins = ({ text }: Choice) =>
    text.toLowerCase().startsWith(typed.toLowerCase()) && text.trim() !== typed;
  const fields = filterFields.map(({ name, hint }) => ({ text: name, hint }));
  if (previous === undefined || /^(?:AND|OR|NOT|\()$/.test(previous)) {
    const not = previous === "NOT" ? [] : [{ text: "NOT", hint: "turns the next test round" }];
    return [...fields, ...not].filter(begins);
  }
  return joints.filter(begins);
}

const joints: readonly Choice[] = [
  { text: "AND", hint: "both must hold" },
  { text: "OR", hint: "either may hold; binds tighter than AND" },
];

const comparatorHints: Readonly<Record<string, string>> = {
  "=": "is",
  "!=": "is not",
  "<": "below",
  "<=": "at most",
  ">": "above",
  ">=": "at least",
  ":": "has; * asks for any value",
};

function valuesOf(field: FilterField, known: KnownValues): readonly Choice[] {
  switch (field.kind) {
    case "choice":
      return (field.values ?? []).map((text) => ({ text, hint: "" }));
    case "flag":
      return ["true", "false"].map((text) => ({ text, hint: "" }));
    case "time":
      return times;
    default:
      return (known[field.name] ?? []).map((value) => ({ text: quoted(value), hint: "" }));
  }
}

const times: readonly Choice[] = [
  { text: "ago(1h)", hint: "an hour ago" },
  { text: "ago(1d)", hint: "a day ago" },
  { text: "ago(7d)", hint: "a week ago" },
  { text: "ago(30d)", hint: "30 days ago" },
];

/** A value as the language wants it: in quotes where it holds more than letters, digits, dashes and underscores. */
export function quoted(value: string): string {
  return /^[\w-]+$/.test(value) ? value : `"${value.replaceAll(/["\\*]/g, String.raw`\$&`)}"`;
}

function isPart(typed: string, text: string): boolean {
  const plain = typed.replaceAll(/^["']|["']$/g, "").toLowerCase();
  return text.toLowerCase().includes(plain) && text !== typed;
}

function fieldOf(text: string): FilterField | undefined {
  const [name] = text.split(".", 1);
  return filterFields.find((field) => field.name === name);
}

function isComparator(text: string): boolean {
  return /^(?:[<>!]?=|[<>:])$/.test(text);
}

function wordsOf(text: string): readonly Word[] {
  const pattern = /"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[<>!]=|[=<>:()]|[^\s"'<>=!:()]+|!/g;
  return [...text.matchAll(pattern)].map(({ 0: word, index }) => ({
    text: word,
    at: index,
    end: index + word.length,
  }));
}

/** Where the half-written word ends: what stands behind the caret belongs to it. */
function endOfWord(filter: string, caret: number, half: Word | undefined): number {
  if (half === undefined || /^["']/.test(half.text)) return caret;
  return caret + (/^[^\s"'<>=!:()]*/.exec(filter.slice(caret))?.[0].length ?? 0);
}
