import { isIPv6 } from "node:net";
import { isGeneratedId } from "./generated-id.ts";

/**
 * Replaces what differs from one occurrence of an error to the next, so that the rest can be compared: times, durations,
 * numbers, addresses of memory and networks, digests, ids, quoted names, queries of URLs and the folders of paths. Digits that
 * belong to a name (`uart1`, `sha256`) stay, and numbers that name a fault (`errno 13`, `HTTP 404`).
 *
 * Reads from left to right once. What is tried at a place reads a bounded number of characters, so the time is linear.
 */
export function normaliseText(text: string): string {
  let words = "";
  let at = 0;
  while (at < text.length) {
    const part = partAt(text, at);
    words += part.words;
    at = part.end;
  }
  return words.trim();
}

interface Part {
  readonly words: string;
  /** Where the next part begins, behind where this one did. */
  readonly end: number;
}

function partAt(text: string, at: number): Part {
  if (isBlank(text.charCodeAt(at))) return { words: " ", end: endOf(blanks, text, at) };
  for (const { pattern, words } of variables) {
    const end = endOf(pattern, text, at);
    if (end === at) continue;
    const found = typeof words === "string" ? words : words(text.slice(at, end), text, at);
    if (found !== undefined)
      return typeof found === "string" ? { words: found, end } : { ...found, end: at + found.end };
  }
  const end = endOf(word, text, at);
  if (end === at) return { words: text[at] ?? "", end: at + 1 };
  const whole = text.slice(at, end);
  return { words: isGeneratedId(whole) ? "<id>" : whole, end };
}

/** Where a sticky expression that begins at a place ends; the place itself if it does not fit. */
function endOf(expression: RegExp, text: string, at: number): number {
  expression.lastIndex = at;
  return expression.test(text) ? expression.lastIndex : at;
}

function isBlank(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d) || code === 0xa0;
}

const blanks = /\s{1,1000}/y;
const word = /\w{1,1000}/y;

/** What a variable part becomes: the same for all, or of its text; a shorter end, in characters of it; or undefined if it is none. */
type Words =
  | string
  | ((
      found: string,
      text: string,
      at: number,
    ) => string | { readonly words: string; readonly end: number } | undefined);

const months = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}";
const clock = String.raw`\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?: ?[AaPp][Mm]\b)?`;
const zone = String.raw`(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})\b)?`;
const units =
  "(?:ns|us|µs|μs|ms|msecs?|usecs?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|weeks?|milliseconds?|microseconds?|nanoseconds?)";

/** In the order in which they are tried. Each is tried where no word is cut in two. */
const variables: readonly { readonly pattern: RegExp; readonly words: Words }[] = [
  { pattern: /"[^"\n]{0,200}"/y, words: "<name>" },
  {
    pattern:
      /(?<=\b(?:b?ssid|user|username|login|host|hostname|serial|device|client|name)=)[^\s"',;)\]]{1,200}/iy,
    words: "<name>",
  },
  { pattern: /(?<!\w)'[^'\n]{0,200}'(?!\w)/y, words: "<name>" },
  { pattern: /`[\w.-]{1,200}`/y, words: "<name>" },
  { pattern: /“[^“”\n]{0,200}”|«[^«»\n]{0,200}»|‘[^‘’\n]{0,200}’/y, words: "<name>" },
  { pattern: /(?<!\w)[a-z][a-z0-9+.-]{1,15}:\/\/[^\s"'<>)\]}]{1,1000}/iy, words: urlWords },
  { pattern: /(?<![\w.+-])[\w.+-]{1,64}@[a-z0-9-]{1,63}\.[a-z0-9.-]{1,63}\b/iy, words: "<email>" },
  { pattern: /(?<![^\s"'`(=[<:,])(?:[A-Za-z]:\\|\\\\)(?:[^\s\\"'`:,]{1,255}\\){0,40}/y, words: "" },
  { pattern: /(?<![^\s"'`(=[<:,])\/(?:[^\s/"'`:,]{1,255}\/){1,40}/y, words: "" },
  { pattern: /(?<!\w)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/iy, words: "<id>" },
  { pattern: /(?<!\w)eyJ[\w-]{5,500}\.[\w-]{1,2000}\.[\w-]{0,500}/y, words: "<id>" },
  {
    pattern: /(?<!\w)[0-9a-f]{2}([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}(?:\1[0-9a-f]{2}){0,2}\b/iy,
    words: "<mac>",
  },
  { pattern: /(?<!\w)[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}\b/iy, words: "<mac>" },
  {
    pattern: new RegExp(
      String.raw`(?<!\w)\d{4}([-/.])\d{1,2}\1\d{1,2}(?:(?:T|,? )${clock}${zone})?(?!\w)`,
      "y",
    ),
    words: "<time>",
  },
  { pattern: /(?<!\w)\d{8}T\d{4,6}(?:[.,]\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})?\b/y, words: "<time>" },
  {
    pattern: new RegExp(
      String.raw`(?<!\w)(?:\d{1,2}[/-]\d{1,2}[/-]\d{4}|\d{1,2}\/\d{1,2}\/\d{2}|\d{1,2}\.\d{1,2}\.\d{4})(?:,? ${clock}${zone})?(?![\w.])`,
      "y",
    ),
    words: "<time>",
  },
  {
    pattern: new RegExp(
      String.raw`(?<!\w)(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? )?(?:${months} {1,2}\d{1,2}(?:,? \d{4}\b)?|\d{1,2}[ -]${months}[ -]\d{2,4})(?:,? (?:at )?${clock}${zone}(?: [A-Z]{2,5}(?= \d{4}))?(?: \d{4}\b)?)?\b`,
      "y",
    ),
    words: "<time>",
  },
  { pattern: /(?<!\w)(?:\d{1,3}\.){3}\d{1,3}(?:\/\d{1,2})?(?::\d{1,5})?\b(?!\.\d)/y, words: "<ip>" },
  { pattern: /(?<![\w:])[0-9a-f:.]{2,45}(?:%\w{1,16})?/iy, words: ipv6Words },
  { pattern: new RegExp(String.raw`(?<!\w)${clock}${zone}\b(?!:)`, "y"), words: "<time>" },
  {
    pattern: new RegExp(String.raw`(?<![\w.])[+-]?(?:\d{1,20}(?:[.,]\d{1,20})? ?${units}\b ?){1,6}`, "y"),
    words: (found) => (found.endsWith(" ") ? "<duration> " : "<duration>"),
  },
  {
    pattern: /(?<![\w.])[+-]?(?:\d{1,20}(?:[.,]\d{1,20})?(?:h|ms?|us|µs|μs|ns|s|d)){1,6}(?!\w)/y,
    words: "<duration>",
  },
  { pattern: /(?<!\w)P(?:\d{1,9}[YMWD]){0,4}T?(?:\d{1,9}(?:\.\d{1,9})?[HMS]){1,3}\b/y, words: "<duration>" },
  {
    pattern: /(?<![\w.])\d{1,20}(?:[.,]\d{1,20})? ?(?:[kKMGT]i?B|[kKMG]?[Bb]its?|bytes?|B)\b/y,
    words: "<size>",
  },
  { pattern: /(?<!\w)0x[0-9a-f]{1,64}\b/iy, words: hexWords },
  {
    pattern: /(?<!\w)[0-9a-f]{8,256}\b/iy,
    words: (found) => (/\d/.test(found) && /[a-f]/i.test(found) ? "<hex>" : undefined),
  },
  { pattern: /(?<![\w+/-])[\w+/-]{12,512}={1,2}(?!\w)/y, words: "<id>" },
  { pattern: /(?<!\w)\d\w{5,200}/y, words: (found) => (isGeneratedId(found) ? "<id>" : undefined) },
  {
    pattern:
      /(?<![\w.])(?:(?<![\w)\]])[+-])?\d{1,40}(?:[.,:]\d{1,40}){0,20}(?:e[+-]?\d{1,4}\b)?(?!x[0-9a-f])/iy,
    words: numberWords,
  },
];

/** The address without who, port and query; parts of the path with digits in them are someone's number or id. */
function urlWords(found: string): { words: string; end: number } {
  const trimmed = found.replace(/[.,;:!]{1,5}$/, "");
  const address = trimmed.slice(0, endOf(/[^?#]{1,1000}/y, trimmed, 0));
  const [scheme, rest] = splitOnce(address, "://");
  const [authority = "", ...path] = rest.split("/");
  const host = authority.slice(authority.lastIndexOf("@") + 1).replace(/:\d{1,5}$/, "");
  const hostWords = /^(?:\d{1,3}\.){3}\d{1,3}$|^\[/.test(host) ? "<ip>" : host.replaceAll(/\d{1,20}/g, "<n>");
  const pathWords = path.map((part) => (/\d/.test(part) || isGeneratedId(part) ? "<n>" : part));
  return { words: [`${scheme}://${hostWords}`, ...pathWords].join("/"), end: trimmed.length };
}

function ipv6Words(found: string): { words: string; end: number } | undefined {
  const address = found.replace(/[.:]$/, "");
  const whole = found.endsWith("::") ? found : address;
  const [plain] = splitOnce(whole, "%");
  return whole.includes(":") && isIPv6(plain) ? { words: "<ip>", end: whole.length } : undefined;
}

function numberWords(found: string, text: string, at: number): string {
  const before = text.slice(Math.max(0, at - 16), at);
  return namesFault.test(before) || (found.startsWith("-") && namesResult.test(before)) ? found : "<n>";
}

/** A result of a few digits is a number of a fault; what is longer is an address. */
function hexWords(found: string, text: string, at: number): string {
  return found.length <= 8 && namesResult.test(text.slice(Math.max(0, at - 16), at)) ? found : "<hex>";
}

/** What stands before a number that says what went wrong. */
const namesFault =
  /(?:\berrno|\bstatus|\bstatus code|\bHTTP|\bHTTP\/[\d.]{1,3}|\bexit code|\bsignal)[ =:]{0,2}[[(]?$/i;

const namesResult = /(?:\b(?:esp_err_t|returned|errno|ret|rc|code|status)|err|error)[ =:]{1,2}[[(]?-?$/i;

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}
