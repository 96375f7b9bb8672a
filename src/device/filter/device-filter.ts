import { isUuid } from "../../call/uuid.ts";
import { versionKey } from "../../version/version-key.ts";
import type { UpdatePin } from "../state/filterable-device.ts";
import type { Presence } from "../state/presence.ts";
import type { Standing } from "../state/standing.ts";
import { invalidFilter } from "./filter-fault.ts";
import {
  type DeviceFilterField,
  deviceFilterFields,
  type FieldKind,
  type FieldName,
  fieldComparators,
  pinNames,
  presences,
  standingNames,
} from "./filter-fields.ts";
import type { Comparator, WordToken } from "./filter-lexer.ts";
import {
  type ArgumentSyntax,
  type FilterSyntax,
  type RestrictionSyntax,
  readSyntax,
} from "./filter-syntax.ts";

/** A checked filter over devices. What a device has not told matches no test, so NOT of such a test matches it. */
export type DeviceFilter =
  | { readonly kind: "all" }
  | { readonly kind: "and" | "or"; readonly operands: readonly DeviceFilter[] }
  | { readonly kind: "not"; readonly operand: DeviceFilter }
  | DeviceTest;

/** One question about a device. */
export type DeviceTest =
  /** Whether the serial number or the name for people contains a text, in ASCII letters of any case. */
  | { readonly kind: "search"; readonly text: string }
  /** Whether a field has a value. */
  | { readonly kind: "present"; readonly field: FieldPath }
  | {
      readonly kind: "text";
      readonly field: FieldPath;
      readonly negated: boolean;
      readonly pattern: TextPattern;
    }
  /** Whether a list has an item. */
  | { readonly kind: "item"; readonly field: FieldPath; readonly pattern: TextPattern }
  | { readonly kind: "id"; readonly negated: boolean; readonly id: string }
  | {
      readonly kind: "number";
      readonly field: FieldPath;
      readonly comparison: Comparison;
      readonly value: number;
    }
  | {
      readonly kind: "time";
      readonly field: FieldPath;
      readonly comparison: Comparison;
      readonly value: FilterTime;
    }
  | {
      readonly kind: "version";
      readonly field: FieldPath;
      readonly comparison: Comparison;
      /** See {@link versionKey}. */
      readonly key: string;
    }
  | { readonly kind: "presence"; readonly negated: boolean; readonly presence: Presence }
  | { readonly kind: "pin"; readonly negated: boolean; readonly pin: UpdatePin }
  | { readonly kind: "standing"; readonly negated: boolean; readonly standing: Standing }
  | { readonly kind: "choice"; readonly field: FieldPath; readonly negated: boolean; readonly value: string }
  | { readonly kind: "flag"; readonly field: FieldPath; readonly value: boolean };

/** A field, and of a map the name of its entry. */
export interface FieldPath {
  readonly name: FieldName;
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

/**
 * Reads a filter over devices (https://google.aip.dev/160); a blank one matches every device. Throws `INVALID_FILTER`
 * with the place and what was expected there. `field` is the path of the filter in the request.
 */
export function parseDeviceFilter(text: string, field = "filter"): DeviceFilter {
  const syntax = readSyntax(text, field);
  return syntax === undefined ? { kind: "all" } : new Checker(field).filter(syntax);
}

const fieldsByName: ReadonlyMap<string, DeviceFilterField> = new Map(
  deviceFilterFields.map((field) => [field.name, field]),
);

/** Gives names and values their meaning. */
class Checker {
  readonly #field: string;

  constructor(field: string) {
    this.#field = field;
  }

  filter(syntax: FilterSyntax): DeviceFilter {
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

  #search(path: readonly WordToken[]): DeviceFilter {
    const text = path.map((word) => word.text).join(".");
    const at = path[0]?.at ?? 0;
    const first = path[0];
    if (first?.kind === "word" && fieldsByName.has(first.text)) {
      throw this.#fault(at, `${first.text} is a field: compare it, for example with ${example(first.text)}`);
    }
    if (text === "") throw this.#fault(at, "expected a text to search for");
    return { kind: "search", text };
  }

  #restriction(syntax: RestrictionSyntax): DeviceFilter {
    const { comparator, argument } = syntax;
    const { field, path, keyOnly } = this.#resolve(syntax);
    if (keyOnly) return { kind: "present", field: path };
    const allowed = fieldComparators[field.kind];
    if (!allowed.includes(comparator)) {
      throw this.#fault(
        argument.at,
        `${field.name} cannot be compared with ${comparator}: use ${allowed.join(" ")}, for example ${example(field.name)}`,
      );
    }
    if (argument.call !== undefined && field.kind !== "time") {
      throw this.#fault(argument.at, "functions are only for times, for example last_seen_time < ago(7d)");
    }
    if (comparator === ":" && isStar(argument)) return { kind: "present", field: path };
    return this.#test(field.kind, path, comparator, argument);
  }

  #resolve({ path, comparator, argument }: RestrictionSyntax): {
    field: DeviceFilterField;
    path: FieldPath;
    keyOnly: boolean;
  } {
    const [first, ...rest] = path;
    const at = first?.at ?? 0;
    const name = first?.text ?? "";
    const field = first?.kind === "word" ? fieldsByName.get(name) : undefined;
    if (field === undefined) {
      throw this.#fault(at, `unknown field "${name}"; the fields are ${[...fieldsByName.keys()].join(", ")}`);
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
      throw this.#fault(at, `expected a name behind ${name}, for example ${example(name)}`);
    // metadata:site asks for the entry, metadata:* for any.
    const key = isStar(argument) ? undefined : argument.text;
    return { field, path: { name: field.name, key }, keyOnly: true };
  }

  #test(kind: FieldKind, field: FieldPath, comparator: Comparator, argument: ArgumentSyntax): DeviceFilter {
    const negated = comparator === "!=";
    switch (kind) {
      case "id":
        return { kind: "id", negated, id: this.#id(argument) };
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

  #requireComparison(field: FieldPath, comparator: Comparator, { at }: ArgumentSyntax): Comparison {
    if (comparator !== ":") return comparator;
    throw this.#fault(at, `expected * behind "${field.name}:", which asks whether there is a value`);
  }

  #id(argument: ArgumentSyntax): string {
    if (isUuid(argument.text) && !isWild(argument)) return argument.text.toLowerCase();
    throw this.#unexpected("a UUID", argument);
  }

  #choice(field: FieldPath, negated: boolean, argument: ArgumentSyntax): DeviceFilter {
    const { name } = field;
    const { values = [] } = fieldsByName.get(name) ?? {};
    const prefix = `${name.toUpperCase()}_`;
    const value = argument.text.startsWith(prefix) ? argument.text.slice(prefix.length) : argument.text;
    if (isWild(argument) || !values.includes(value)) {
      throw this.#unexpected(`one of ${values.join(", ")}`, argument);
    }
    const presence = presences[value];
    const pin = pinNames[value];
    if (name === "presence" && presence !== undefined) return { kind: "presence", negated, presence };
    const standing = standingNames[value];
    if (name === "standing" && standing !== undefined) return { kind: "standing", negated, standing };
    if (name === "update_pin" && pin !== undefined) return { kind: "pin", negated, pin };
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
    if (!isWild(argument) && !Number.isNaN(sinceEpochMs)) return { sinceEpochMs };
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

  #version(field: FieldPath, comparison: Comparison, argument: ArgumentSyntax): DeviceFilter {
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

  #fault(at: number, problem: string): Error {
    return invalidFilter(this.#field, at, problem);
  }
}

const rfc3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;

const agoUnitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

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

function example(name: string): string {
  const field = fieldsByName.get(name);
  return examples[field?.kind ?? "text"]
    .replaceAll("NAME", name)
    .replaceAll("VALUE", field?.values?.[0] ?? "");
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
