import { invalidFilter } from "./filter-fault.ts";

/** A piece of a filter's text. */
export type Token = WordToken | { readonly kind: Punctuation; readonly at: number; readonly end: number };

/** A word or a quoted text. */
export interface WordToken {
  readonly kind: "word" | "string";
  /** Without quotes and escapes; the wildcards at its ends are not part of it. */
  readonly text: string;
  /** Whether a `*` that counts as a wildcard stood before or after it. */
  readonly wildStart: boolean;
  readonly wildEnd: boolean;
  /** Where it begins in the filter, counted from 0, and where the rest begins. */
  readonly at: number;
  readonly end: number;
}

/** What stands between words. `end` is the end of the filter. */
type Punctuation = Comparator | "(" | ")" | "." | "," | "end";

/** The comparators of AIP-160; `:` is "has". */
export type Comparator = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":";

/**
 * Splits a filter into words, quoted texts, comparators and brackets (https://google.aip.dev/160). In quoted texts `\`
 * makes the next character an ordinary one. Throws `INVALID_FILTER`.
 */
export function readTokens(filter: string, field: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  for (;;) {
    while (at < filter.length && /\s/.test(filter.charAt(at))) at++;
    const token = at < filter.length ? tokenAt(filter, at, field) : { kind: "end" as const, at, end: at };
    tokens.push(token);
    if (token.kind === "end") return tokens;
    at = token.end;
  }
}

/** Whether a token is a comparator. */
export function isComparator(kind: Token["kind"]): kind is Comparator {
  return comparators.has(kind);
}

const comparators: ReadonlySet<string> = new Set(["=", "!=", "<", "<=", ">", ">=", ":"]);

function tokenAt(filter: string, at: number, field: string): Token {
  const two = filter.slice(at, at + 2);
  if (two === "!=" || two === "<=" || two === ">=") return { kind: two, at, end: at + 2 };
  const one = filter.charAt(at);
  switch (one) {
    case "=":
    case "<":
    case ">":
    case ":":
    case "(":
    case ")":
    case ".":
    case ",":
      return { kind: one, at, end: at + 1 };
    case '"':
    case "'":
      return quoted(filter, at, one, field);
    case "!":
      throw invalidFilter(field, at, 'expected "=" after "!"');
    default:
      return word(filter, at, field);
  }
}

function word(filter: string, at: number, field: string): WordToken {
  let end = at;
  while (end < filter.length && !/[\s"'()<>=!:.,]/.test(filter.charAt(end))) end++;
  const written = filter.slice(at, end);
  const wildStart = written.startsWith("*");
  const wildEnd = written.endsWith("*");
  const text = written === "*" ? "" : written.slice(wildStart ? 1 : 0, wildEnd ? -1 : undefined);
  const star = text.indexOf("*");
  if (star >= 0) throw strayStar(field, at + (wildStart ? 1 : 0) + star);
  return { kind: "word", text, wildStart, wildEnd, at, end };
}

function quoted(filter: string, at: number, quote: string, field: string): WordToken {
  let text = "";
  let wildStart = false;
  let wildEnd = false;
  let position = at + 1;
  for (; position < filter.length && filter.charAt(position) !== quote; position++) {
    const character = filter.charAt(position);
    if (character === "\\") {
      position++;
      text += filter.charAt(position);
    } else if (character !== "*") {
      text += character;
    } else if (position === at + 1) {
      wildStart = true;
    } else if (filter.charAt(position + 1) === quote) {
      wildEnd = true;
    } else {
      throw strayStar(field, position);
    }
  }
  if (position >= filter.length)
    throw invalidFilter(field, at, `the text that begins here has no closing ${quote}`);
  // A lone star is both.
  if (wildStart && position === at + 2) wildEnd = true;
  return { kind: "string", text, wildStart, wildEnd, at, end: position + 1 };
}

function strayStar(field: string, at: number): Error {
  return invalidFilter(
    field,
    at,
    'a "*" may stand only at the ends of a text; write "\\*" for the character itself',
  );
}
