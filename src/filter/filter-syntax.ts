import { invalidFilter } from "./filter-fault.ts";
import { type Comparator, isComparator, readTokens, type Token, type WordToken } from "./filter-lexer.ts";

/** A filter as it is written: what its names and values mean is not known yet. */
export type FilterSyntax =
  | { readonly kind: "and" | "or"; readonly operands: readonly FilterSyntax[] }
  | { readonly kind: "not"; readonly operand: FilterSyntax }
  | { readonly kind: "search"; readonly path: readonly WordToken[] }
  | RestrictionSyntax;

/** A field compared with a value: `battery_percent < 20`. */
export interface RestrictionSyntax {
  readonly kind: "restriction";
  readonly path: readonly WordToken[];
  readonly comparator: Comparator;
  readonly argument: ArgumentSyntax;
}

/** What stands behind a comparator. */
export interface ArgumentSyntax {
  /** The function that is called with the value: `ago`; undefined for the value itself. */
  readonly call: string | undefined;
  readonly text: string;
  /** Whether it stood in quotes. */
  readonly quoted: boolean;
  readonly wildStart: boolean;
  readonly wildEnd: boolean;
  readonly at: number;
}

/**
 * Reads the syntax of a filter by AIP-160's grammar (https://google.aip.dev/assets/misc/ebnf-filtering.txt). OR binds
 * tighter than AND there, and terms that stand side by side are joined by AND, tighter than the word AND. Undefined for
 * a blank filter. Throws `INVALID_FILTER`, also for a filter that is nested or long beyond reason.
 */
export function readSyntax(filter: string, field: string): FilterSyntax | undefined {
  if (filter.length > maxLength) {
    throw invalidFilter(field, maxLength, `the filter has more than ${maxLength} characters`);
  }
  const nul = filter.indexOf("\0");
  if (nul >= 0 || !filter.isWellFormed()) {
    throw invalidFilter(field, Math.max(nul, 0), "the filter holds NUL or half a character");
  }
  const parser = new Parser(readTokens(filter, field), field);
  if (parser.peek().kind === "end") return undefined;
  const syntax = parser.expression();
  parser.expectEnd();
  return syntax;
}

/** The limit of the contract, in UTF-16 code units. */
const maxLength = 2_000;

/** Brackets and NOTs inside each other: no person writes more, and the stack stays shallow. */
const maxDepth = 20;

/** Comparisons of one filter: bounds the statement that is made of it, and the work for one device. */
const maxTests = 100;

/** Recursive descent: a method for each rule of the grammar. */
class Parser {
  readonly #tokens: readonly Token[];
  readonly #field: string;
  #next = 0;
  #depth = 0;
  #tests = 0;

  constructor(tokens: readonly Token[], field: string) {
    this.#tokens = tokens;
    this.#field = field;
  }

  expression(): FilterSyntax {
    return this.#joined("AND", "and", () => this.#sequence());
  }

  expectEnd(): void {
    const token = this.peek();
    if (token.kind === "end") return;
    throw this.#fault(token, token.kind === ")" ? 'this ")" closes nothing' : `expected AND or the end`);
  }

  peek(ahead = 0): Token {
    // The last token is the end, which repeats itself.
    const token = this.#tokens[Math.min(this.#next + ahead, this.#tokens.length - 1)];
    if (token === undefined) throw new Error("a filter has at least its end");
    return token;
  }

  #sequence(): FilterSyntax {
    const operands = [this.#factor()];
    while (!["end", ")"].includes(this.peek().kind) && !this.#isKeyword("AND")) operands.push(this.#factor());
    return joined("and", operands);
  }

  #factor(): FilterSyntax {
    return this.#joined("OR", "or", () => this.#term());
  }

  #joined(keyword: string, kind: "and" | "or", operand: () => FilterSyntax): FilterSyntax {
    const operands = [operand()];
    while (this.#isKeyword(keyword)) {
      this.#take();
      operands.push(operand());
    }
    return joined(kind, operands);
  }

  #term(): FilterSyntax {
    if (this.#isKeyword("NOT")) {
      this.#take();
      return this.#nested(() => ({ kind: "not", operand: this.#simple() }));
    }
    const token = this.peek();
    if (token.kind === "word" && token.text.startsWith("-")) return this.#minus(token);
    return this.#simple();
  }

  /** `-` right before a term is NOT. */
  #minus(token: WordToken): FilterSyntax {
    const rest = { ...token, text: token.text.slice(1), at: token.at + 1 };
    if (rest.text === "" && this.peek(1).at !== token.end) {
      throw this.#fault(token, 'expected a term right behind "-"');
    }
    const first = rest.text === "" ? undefined : rest;
    this.#take();
    return this.#nested(() => ({ kind: "not", operand: this.#simple(first) }));
  }

  #simple(first?: WordToken): FilterSyntax {
    if (first === undefined && this.peek().kind === "(") {
      this.#take();
      const syntax = this.#nested(() => this.expression());
      if (this.peek().kind !== ")") throw this.#fault(this.peek(), 'expected ")"');
      this.#take();
      return syntax;
    }
    return this.#restriction(first);
  }

  #restriction(first: WordToken | undefined): FilterSyntax {
    if (++this.#tests > maxTests) {
      throw this.#fault(this.peek(), `a filter may compare at most ${maxTests} times`);
    }
    const path = this.#path(first);
    const { kind, end } = this.peek();
    if (kind === "(") throw this.#fault(this.peek(), "functions stand only behind a comparator");
    if (!isComparator(kind)) return { kind: "search", path };
    this.#take();
    return { kind: "restriction", path, comparator: kind, argument: this.#argument(kind, end) };
  }

  #path(first: WordToken | undefined): WordToken[] {
    const path = [first ?? this.#word("a field, a text or an opening bracket")];
    while (this.peek().kind === ".") {
      this.#take();
      path.push(this.#word("a name behind the dot"));
    }
    return path;
  }

  #argument(comparator: Comparator, at: number): ArgumentSyntax {
    const start = this.peek();
    if (start.kind === "(") {
      throw this.#fault(start, 'expected a value; write several as "field = a OR field = b"');
    }
    if (start.kind !== "word" && start.kind !== "string") {
      throw invalidFilter(this.#field, at, `expected a value behind ${comparator}${found(start)}`);
    }
    if (this.#isKeyword("AND") || this.#isKeyword("OR") || this.#isKeyword("NOT")) {
      throw this.#fault(start, `expected a value behind ${comparator}`);
    }
    this.#take();
    if (start.kind === "word" && this.peek().kind === "(") return this.#call(start);
    if (start.kind === "string") return { ...start, call: undefined, quoted: true };
    // Dots split names, but in a value they belong to it: 2.5 and 1.4.0-rc.1.
    let last: Token = start;
    let { text, wildEnd } = start;
    while (this.peek().kind === "." && this.peek().at === last.end) {
      const dot = this.#take();
      const part = this.peek();
      const touches = part.kind === "word" && part.at === dot.end;
      if (!touches) throw this.#fault(part, "expected more of the value behind the dot");
      // A star before a dot would stand in the middle; a lone one at the start is the wildcard there.
      if (wildEnd && text !== "") throw this.#fault(dot, 'a "*" may stand only at the ends of a value');
      if (part.wildStart && part.text !== "")
        throw this.#fault(part, 'a "*" may stand only at the ends of a value');
      text += `.${part.text}`;
      wildEnd = part.wildEnd;
      last = this.#take();
    }
    return { call: undefined, quoted: false, text, wildStart: start.wildStart, wildEnd, at: start.at };
  }

  #call(name: WordToken): ArgumentSyntax {
    this.#take();
    const argument = this.#word(`a value for ${name.text}()`);
    if (this.peek().kind !== ")") throw this.#fault(this.peek(), 'expected ")"');
    this.#take();
    const { text, wildStart, wildEnd } = argument;
    return { call: name.text, quoted: argument.kind === "string", text, wildStart, wildEnd, at: name.at };
  }

  #word(expected: string): WordToken {
    const token = this.peek();
    const keyword = this.#isKeyword("AND") || this.#isKeyword("OR") || this.#isKeyword("NOT");
    if ((token.kind !== "word" && token.kind !== "string") || keyword) {
      throw this.#fault(token, `expected ${expected}`);
    }
    this.#take();
    return token;
  }

  #nested<T>(read: () => T): T {
    if (++this.#depth > maxDepth) {
      throw this.#fault(this.peek(), `the filter is nested more than ${maxDepth} deep`);
    }
    const result = read();
    this.#depth--;
    return result;
  }

  #isKeyword(keyword: string): boolean {
    const token = this.peek();
    return token.kind === "word" && token.text === keyword && !token.wildStart && !token.wildEnd;
  }

  #take(): Token {
    const token = this.peek();
    this.#next++;
    return token;
  }

  #fault(token: Token, problem: string): Error {
    return invalidFilter(
      this.#field,
      token.at,
      `${problem}${problem.includes("expected") ? found(token) : ""}`,
    );
  }
}

function joined(kind: "and" | "or", operands: readonly FilterSyntax[]): FilterSyntax {
  const [only] = operands;
  return operands.length === 1 && only !== undefined ? only : { kind, operands };
}

function found(token: Token): string {
  if (token.kind === "end") return ", found the end";
  return token.kind === "word" || token.kind === "string"
    ? `, found "${token.text}"`
    : `, found "${token.kind}"`;
}
