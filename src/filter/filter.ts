import { isUuid } from "../call/uuid.ts";
import { versionKey } from "../version/version-key.ts";
import { invalidFilter } from "./filter-fault.ts";
import type { Comparator, WordToken } from "./filter-lexer.ts";
import {
  type ArgumentSyntax,
  type FilterSyntax,
  type RestrictionSyntax,
  readSyntax,
} from "./filter-syntax.ts";

/** A field that a filter can name. Fields of a map are followed by a dot and a name. */
export interface FilterField<Name extends string = string> {
  readonly name: Name;
  readonly kind: FieldKind;
  /** For people, in one sentence. */
  readonly description: string;
  /** The values of a choice. */
  readonly values?: readonly string[];
  /** What the contract's enum has before each value; unless given, the name of the field and `_`. */
  readonly prefix?: string;
}

/** What can be asked of a field: see {@link fieldComparators}. */
export type FieldKind =
  | "id"
  | "text"
  | "list"
  | "text_map"
  | "version_map"
  | "choice"
  | "time"
  | "number"
  | "flag"
  | "version";

/** The comparators of each kind of field. */
export const fieldComparators: Readonly<Record<FieldKind, readonly string[]>> = {
  id: ["=", "!="],
  text: ["=", "!=", ":"],
  list: [":"],
  text_map: ["=", "!=", ":"],
  version_map: ["=", "!=", "<", "<=", ">", ">=", ":"],
  choice: ["=", "!=", ":"],
  time: ["=", "!=", "<", "<=", ">", ">=", ":"],
  number: ["=", "!=", "<", "<=", ">", ">=", ":"],
  flag: ["=", "!=", ":"],
  version: ["=", "!=", "<", "<=", ">", ">=", ":"],
};

/** A checked filter. What a resource does not have matches no test, so NOT of such a test matches it. */
export type Filter<Name extends string, Choice = ChoiceTest<Name>> =
  | { readonly kind: "all" }
  | { readonly kind: "and" | "or"; readonly operands: readonly Filter<Name, Choice>[] }
  | { readonly kind: "not"; readonly operand: Filter<Name, Choice> }
  | FilterTest<Name>
  | Choice;

/** One question about a resource, but for those about a choice. */
export type FilterTest<Name extends string> =
  /** Whether one of the texts that stand for it contains a text, in ASCII letters of any case. */
  | { readonly kind: "search"; readonly text: string }
  /** Whether a field has a value. */
  | { readonly kind: "present"; readonly field: FieldPath<Name> }
  | {
      readonly kind: "text";
      readonly field: FieldPath<Name>;
      readonly negated: boolean;
      readonly pattern: TextPattern;
    }
  /** Whether a list has an item. */
  | { readonly kind: "item"; readonly field: FieldPath<Name>; readonly pattern: TextPattern }
  | { readonly kind: "id"; readonly field: FieldPath<Name>; readonly negated: boolean; readonly id: string }
  | {
      readonly kind: "number";
      readonly field: FieldPath<Name>;
      readonly comparison: Comparison;
      readonly value: number;
    }
  | {
      readonly kind: "time";
      readonly field: FieldPath<Name>;
      readonly comparison: Comparison;
      readonly value: FilterTime;
    }
  | {
      readonly kind: "version";
      readonly field: FieldPath<Name>;
      readonly comparison: Comparison;
      /** See {@link versionKey}. */
      readonly key: string;
    }
  | { readonly kind: "flag"; readonly field: FieldPath<Name>; readonly value: boolean };

/** Whether a field has one of its values. */
export interface ChoiceTest<Name extends string> {
  readonly kind: "choice";
  readonly field: FieldPath<Name>;
  readonly negated: boolean;
  readonly value: string;
}

/** A field, and of a map the name of its entry. */
export interface FieldPath<Name extends string = string> {
  readonly name: Name;
  readonly key: string | undefined;
}

/** How a text must look. `contains` takes ASCII letters of any case, the others exactly what is written. */
export interface TextPattern {
  readonly kind: "exact" | "prefix" | "suffix" | "inside" | "contains";
  readonly text: string;
}

/** The comparators that order values. */
export type Comparison = Exclude<Comparator, ":">;

/** A point in time, in milliseconds: since 1970, or before the moment at which the filter is asked. */
export type FilterTime = { readonly sinceEpochMs: number } | { readonly agoMs: number };

/** What filters can name of one kind of resource. */
export interface FilterVocabulary<Name extends string> {
  readonly fields: ReadonlyMap<string, FilterField<Name>>;
  /** Where a bare text is looked for; none if it is not. */
  readonly searched: readonly string[];
}

/**
 * Reads a filter (https://google.aip.dev/160); a blank one matches everything. Throws `INVALID_FILTER` with the place and what was
 * expected there. `field` is the path of the filter in the request.
 */
export function parseFilter<Name extends string>(
  text: string,
  vocabulary: FilterVocabulary<Name>,
  field: string,
): Filter<Name> {
  const syntax = readSyntax(text, field);
  return syntax === undefined ? { kind: "all" } : new Checker(vocabulary, field).filter(syntax);
}

/** Gives names and values their meaning. */
class Checker<Name extends string> {
  readonly #vocabulary: FilterVocabulary<Name>;
  readonly #field: string;

  constructor(vocabulary: FilterVocabulary<Name>, field: string) {
    this.#vocabulary = vocabulary;
    this.#field = field;
  }

  filter(syntax: FilterSyntax): Filter<Name> {
    switch (syntax.kind) {
      case "and":
      case "or":
        return { kind: syntax.kind, operands: syntax.operands.map((operand) => this.filter(operand)) };
      case "not":
        return { kind: "not", operand: this.filter(syntax.operand) };
      case "search":
        return this.#search(syntax.path);
      case "restriction":
        return this.#restriction(syntax);
    }
  }

  #search(path: readonly WordToken[]): Filter<Name> {
    const text = path.map((word) => word.text).join(".");
    const at = path[0]?.at ?? 0;
    const first = path[0];
    if (first?.kind === "word" && this.#vocabulary.fields.has(first.text)) {
      throw this.#fault(
        at,
        `${first.text} is a field: compare it, for example with ${this.#example(first.text)}`,
      );
    }
    if (text === "") throw this.#fault(at, "expected a text to search for");
    if (this.#vocabulary.searched.length === 0) {
      throw this.#fault(at, `expected a field to compare; the fields are ${this.#names()}`);
    }
    return { kind: "search", text };
  }

  #restriction(syntax: RestrictionSyntax): Filter<Name> {
    const { comparator, argument } = syntax;
    const { field, path, keyOnly } = this.#resolve(syntax);
    if (keyOnly) return { kind: "present", field: path };
    const allowed = fieldComparators[field.kind];
    if (!allowed.includes(comparator)) {
      throw this.#fault(
        argument.at,
        `${field.name} cannot be compared with ${comparator}: use ${allowed.join(" ")}, for example ${this.#example(field.name)}`,
      );
    }
    if (argument.call !== undefined && field.kind !== "time") {
      throw this.#fault(argument.at, "functions are only for times, for example create_time < ago(7d)");
    }
    if (comparator === ":" && isStar(argument)) return { kind: "present", field: path };
    return this.#test(field.kind, path, comparator, argument);
  }

  #resolve({ path, comparator, argument }: RestrictionSyntax): {
    field: FilterField<Name>;
    path: FieldPath<Name>;
    keyOnly: boolean;
  } {
    const [first, ...rest] = path;
    const at = first?.at ?? 0;
    const name = first?.text ?? "";
    const field = first?.kind === "word" ? this.#vocabulary.fields.get(name) : undefined;
    if (field === undefined) {
      throw this.#fault(at, `unknown field "${name}"; the fields are ${this.#names()}`);
    }
    if (field.kind !== "text_map" && field.kind !== "version_map") {
      const [extra] = rest;
      if (extra !== undefined) throw this.#fault(extra.at, `${name} has no fields of its own`);
      return { field, path: { name: field.name, key: undefined }, keyOnly: false };
    }
    if (rest.length > 0) {
      const key = rest.map((word) => word.text).join(".");
      return { field, path: { name: field.name, key }, keyOnly: false };
    }
    if (comparator !== ":")
      throw this.#fault(at, `expected a name behind ${name}, for example ${this.#example(name)}`);
    // metadata:site asks for the entry, metadata:* for any.
    const key = isStar(argument) ? undefined : argument.text;
    return { field, path: { name: field.name, key }, keyOnly: true };
  }

  #test(
    kind: FieldKind,
    field: FieldPath<Name>,
    comparator: Comparator,
    argument: ArgumentSyntax,
  ): Filter<Name> {
    const negated = comparator === "!=";
    switch (kind) {
      case "id":
        return { kind: "id", field, negated, id: this.#id(argument) };
      case "text":
      case "text_map":
        return { kind: "text", field, negated, pattern: patternOf(argument, comparator === ":") };
      case "list":
        return { kind: "item", field, pattern: patternOf(argument, false) };
      case "choice":
        this.#requireComparison(field, comparator, argument);
        return this.#choice(field, negated, argument);
      case "flag":
        this.#requireComparison(field, comparator, argument);
        return { kind: "flag", field, value: this.#flag(argument) !== negated };
      case "number":
        return {
          kind: "number",
          field,
          comparison: this.#requireComparison(field, comparator, argument),
          value: this.#number(argument),
        };
      case "time":
        return {
          kind: "time",
          field,
          comparison: this.#requireComparison(field, comparator, argument),
          value: this.#time(argument),
        };
      case "version":
      case "version_map":
        return this.#version(field, this.#requireComparison(field, comparator, argument), argument);
    }
  }

  #requireComparison(field: FieldPath<Name>, comparator: Comparator, { at }: ArgumentSyntax): Comparison {
    if (comparator !== ":") return comparator;
    throw this.#fault(at, `expected * behind "${field.name}:", which asks whether there is a value`);
  }

  #id(argument: ArgumentSyntax): string {
    if (isUuid(argument.text) && !isWild(argument)) return argument.text.toLowerCase();
    throw this.#unexpected("a UUID", argument);
  }

  #choice(field: FieldPath<Name>, negated: boolean, argument: ArgumentSyntax): Filter<Name> {
    const { name } = field;
    const { values = [], prefix = `${name.toUpperCase()}_` } = this.#vocabulary.fields.get(name) ?? {};
    const value = argument.text.startsWith(prefix) ? argument.text.slice(prefix.length) : argument.text;
    if (isWild(argument) || !values.includes(value)) {
      throw this.#unexpected(`one of ${values.join(", ")}`, argument);
    }
    return { kind: "choice", field, negated, value };
  }

  #flag(argument: ArgumentSyntax): boolean {
    if (!isWild(argument) && argument.text === "true") return true;
    if (!isWild(argument) && argument.text === "false") return false;
    throw this.#unexpected("true or false", argument);
  }

  #number(argument: ArgumentSyntax): number {
    const isNumber = /^-?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?$/.test(argument.text);
    const value = Number(argument.text);
    if (isNumber && !isWild(argument) && Number.isFinite(value)) return value;
    throw this.#unexpected("a number", argument);
  }

  #time(argument: ArgumentSyntax): FilterTime {
    if (argument.call !== undefined) return { agoMs: this.#age(argument) };
    const sinceEpochMs = rfc3339.test(argument.text) ? Date.parse(argument.text) : Number.NaN;
    if (!isWild(argument) && !Number.isNaN(sinceEpochMs))
      return { sinceEpochMs: Math.min(Math.max(sinceEpochMs, firstMs), lastMs) };
    throw this.#unexpected('a time such as "2026-03-01T12:00:00Z" or ago(7d)', argument);
  }

  #age(argument: ArgumentSyntax): number {
    if (argument.call !== "ago") {
      throw this.#fault(argument.at, `unknown function ${argument.call ?? ""}; there is only ago`);
    }
    const { amount, unit } = /^(?<amount>\d{1,9})(?<unit>[smhd])$/.exec(argument.text)?.groups ?? {};
    const unitMs = agoUnitsMs[unit ?? ""];
    if (amount !== undefined && unitMs !== undefined && !isWild(argument)) {
      return Math.min(Number(amount) * unitMs, maxAgoMs);
    }
    throw this.#unexpected("a number of s, m, h or d, such as ago(90m)", argument);
  }

  #version(field: FieldPath<Name>, comparison: Comparison, argument: ArgumentSyntax): Filter<Name> {
    const equality = comparison === "=" || comparison === "!=";
    if (equality && isWild(argument)) {
      return { kind: "text", field, negated: comparison === "!=", pattern: patternOf(argument, false) };
    }
    const key = versionKey(argument.text);
    if (key !== undefined && !isWild(argument)) return { kind: "version", field, comparison, key };
    // What is no semantic version is the same only as itself, and neither older nor newer.
    if (equality) {
      return { kind: "text", field, negated: comparison === "!=", pattern: patternOf(argument, false) };
    }
    throw this.#unexpected("a semantic version such as 1.4.0", argument);
  }

  #unexpected(expected: string, argument: ArgumentSyntax): Error {
    const stars = {
      before: argument.wildStart ? "*" : "",
      after: argument.wildEnd && argument.text !== "" ? "*" : "",
    };
    return this.#fault(
      argument.at,
      `expected ${expected}, found "${stars.before}${argument.text}${stars.after}"`,
    );
  }

  #names(): string {
    return [...this.#vocabulary.fields.keys()].join(", ");
  }

  #example(name: string): string {
    const field = this.#vocabulary.fields.get(name);
    return examples[field?.kind ?? "text"]
      .replaceAll("NAME", name)
      .replaceAll("VALUE", field?.values?.[0] ?? "");
  }

  #fault(at: number, problem: string): Error {
    return invalidFilter(this.#field, at, problem);
  }
}

const rfc3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;

const agoUnitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The first and the last time that the contract knows: what lies beyond means the same, and every database has dates for it. */
const firstMs = Date.parse("0001-01-01T00:00:00Z");
const lastMs = Date.parse("9999-12-31T23:59:59.999Z");

/** A century: what is longer ago means the same, and stays a date for every database. */
const maxAgoMs = 100 * 366 * 86_400_000;

function isStar({ text, wildStart, wildEnd }: ArgumentSyntax): boolean {
  return text === "" && wildStart && wildEnd;
}

function isWild({ wildStart, wildEnd }: ArgumentSyntax): boolean {
  return wildStart || wildEnd;
}

function patternOf({ text, wildStart, wildEnd }: ArgumentSyntax, contains: boolean): TextPattern {
  if (contains) return { kind: "contains", text };
  if (wildStart && wildEnd) return { kind: "inside", text };
  if (wildStart) return { kind: "suffix", text };
  return { kind: wildEnd ? "prefix" : "exact", text };
}

const examples: Readonly<Record<FieldKind, string>> = {
  id: 'NAME = "019a0000-0000-7000-8000-000000000000"',
  text: 'NAME = "a text" or NAME = "begins with*"',
  list: 'NAME:"a name"',
  text_map: 'NAME.site = "berlin" or NAME:site',
  version_map: "NAME.app >= 1.4.0",
  choice: "NAME = VALUE or NAME:*",
  time: "NAME < ago(7d)",
  number: "NAME < 20 or NAME:*",
  flag: "NAME = true",
  version: "NAME < 1.4.0",
};
