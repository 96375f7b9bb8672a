import { normaliseSymbol } from "./names.ts";

/**
 * The function that a text begins with, without parameters, place and what the compiler added; empty if there is none. Names
 * mangled by the Itanium rules become readable as far as they are nested names without templates; others stay as they are.
 */
export function cppName(text: string): string {
  if (text.startsWith("<signal handler called>")) return "<signal handler called>";
  if (text.startsWith("(") && !text.startsWith("(anonymous namespace)")) return "";
  const name = normaliseSymbol(demangled(text.slice(0, endOfName(text))));
  return name === "??"
    ? ""
    : name.replace(/^(?:void|int|bool|auto|decltype\(auto\)|unsigned int|long) (?=[A-Za-z_:])/, "");
}

/** Where the parameters or the place begin. Parentheses that belong to the name do not end it. */
function endOfName(text: string): number {
  const place = / (?:at |from |in \/|\/|\.\.?\/|<null>)/.exec(text)?.index ?? text.length;
  let depth = 0;
  for (let at = 0; at < place; at++) {
    const character = text[at];
    if (character === "<" && !isOperator(text, at)) depth++;
    if (character === ">" && depth > 0 && text[at - 1] !== "-") depth--;
    if (character !== "(" || depth > 0) continue;
    if (text.startsWith("(anonymous namespace)", at)) continue;
    if (isOperator(text, at)) continue;
    // `main(int, char**)::{lambda()#1}::operator()`: the parameters of the function that it is in.
    const close = closingOf(text, at, place);
    if (!text.startsWith("::", close + 1)) return at;
    at = close;
  }
  return place;
}

function isOperator(text: string, at: number): boolean {
  return (
    text
      .slice(Math.max(0, at - 10), at)
      .trimEnd()
      .endsWith("operator") || text.slice(Math.max(0, at - 11), at).endsWith("operator<")
  );
}

function closingOf(text: string, open: number, end: number): number {
  let depth = 0;
  for (let at = open; at < end; at++) {
    if (text[at] === "(") depth++;
    else if (text[at] === ")" && --depth === 0) return at;
  }
  return end;
}

/** `_ZN5Agent10readSensorEi` is `Agent::readSensor`, `_Z4pollv` is `poll`. */
function demangled(name: string): string {
  const nested = /^_Z(N(?:K)?)?(?=\d)/.exec(name);
  if (nested === null) return name;
  const parts: string[] = [];
  let at = nested[0].length;
  for (;;) {
    const digits = /^\d{1,3}/.exec(name.slice(at, at + 3))?.[0];
    if (digits === undefined) break;
    const from = at + digits.length;
    at = from + Number(digits);
    if (at > name.length) return name;
    parts.push(name.slice(from, at));
    if (nested[1] === undefined) break;
  }
  const isWhole = nested[1] === undefined || name[at] === "E";
  return isWhole && parts.length > 0 ? parts.join("::") : name;
}
