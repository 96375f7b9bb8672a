import { type DescField, type DescMessage, getOption, hasOption, type Message } from "@bufbuild/protobuf";
import {
  type FieldRules,
  field as fieldOption,
  Ignore,
  message as messageOption,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import type { Schema } from "./document.ts";

/** What the contract's rules say of a value, as far as JSON Schema can say it, and in words what it cannot. */
export interface ValueRules {
  readonly keywords: Schema;
  /** Sentences. */
  readonly words: readonly string[];
  /** Whether a request must have the field: without it, it breaks the rule. */
  readonly required: boolean;
  /** Of the items of a list, or the values of a map. */
  readonly items?: ValueRules;
  /** Of the keys of a map. */
  readonly keys?: ValueRules;
}

/** The rules of a field. */
export function valueRules(field: DescField): ValueRules {
  if (!hasOption(field, fieldOption)) return none;
  const rules = getOption(field, fieldOption);
  const ignoresZero = rules.ignore === Ignore.IF_ZERO_VALUE;
  const read = rulesOf(rules, ignoresZero);
  // Without a presence of its own a field that is left out is its zero, and the rules are asked about that.
  const zeroRefused =
    !hasPresence(field) &&
    !ignoresZero &&
    (refusesZero(read.keywords) || refusesZero(boundsOf((rules.type.value ?? {}) as Bounds)));
  return { ...portable(read), required: rules.required || zeroRefused };
}

/** With expressions that only some languages have in words, as JSON Schema advises (Core, section 6.4). */
function portable({ keywords: { pattern, ...keywords }, words, items, ...rules }: ValueRules): ValueRules {
  const isPortable = typeof pattern !== "string" || !pattern.includes("\\p{");
  return {
    ...rules,
    keywords: isPortable && pattern !== undefined ? { ...keywords, pattern } : keywords,
    words: [
      ...words,
      ...(isPortable ? [] : [`Must match \`${pattern}\`.`]),
      ...(items === undefined ? [] : portable(items).words.map((text) => text.replace(/^Must/, "Each must"))),
    ],
    ...(items && { items: portable(items) }),
  };
}

/** The rules of a whole message, in words. */
export function messageRules(message: DescMessage): readonly string[] {
  return hasOption(message, messageOption) ? sentences(getOption(message, messageOption).cel) : [];
}

const none: ValueRules = { keywords: {}, words: [], required: false };

function hasPresence(field: DescField): boolean {
  return (
    field.fieldKind === "message" ||
    field.oneof !== undefined ||
    ((field.fieldKind === "scalar" || field.fieldKind === "enum") && field.presence !== implicitPresence)
  );
}

/** google.protobuf.FeatureSet.FieldPresence.IMPLICIT */
const implicitPresence = 2;

function rulesOf(rules: FieldRules, zeroToo: boolean): ValueRules {
  const words = sentences(rules.cel);
  const plain = (keywords: Schema, more: readonly string[] = []): ValueRules => ({
    keywords: defined(keywords),
    words: [...words, ...more],
    required: false,
  });
  const { type } = rules;
  switch (type.case) {
    case undefined:
    case "fieldMask":
    case "any":
    case "bool":
      return plain({});
    case "string":
      return plain(stringKeywords(type.value, zeroToo));
    case "bytes":
      return plain(bytesKeywords(type.value));
    case "enum":
      return plain({ notIn: type.value.notIn.length > 0 ? type.value.notIn : undefined });
    case "repeated": {
      const { minItems, maxItems, unique, items } = type.value;
      return {
        ...plain({
          minItems: zeroToo ? undefined : count(minItems),
          maxItems: count(maxItems),
          uniqueItems: unique || undefined,
        }),
        ...(items && { items: rulesOf(items, items.ignore === Ignore.IF_ZERO_VALUE) }),
      };
    }
    case "map": {
      const { minPairs, maxPairs, keys, values } = type.value;
      return {
        ...plain({
          minProperties: zeroToo ? undefined : count(minPairs),
          maxProperties: count(maxPairs),
        }),
        ...(keys && { keys: rulesOf(keys, false) }),
        ...(values && { items: rulesOf(values, false) }),
      };
    }
    case "duration":
    case "timestamp":
      return plain({}, boundWords(type.value));
    default: {
      const bounds = boundsOf(type.value);
      // JSON has 64 bits as text, which has no minimum.
      return bits64.has(type.case) ? plain({}, boundWords(type.value)) : plain(bounds);
    }
  }
}

const bits64 = new Set(["int64", "uint64", "sint64", "fixed64", "sfixed64"]);

type StringRules = Extract<FieldRules["type"], { case: "string" }>["value"];
type BytesRules = Extract<FieldRules["type"], { case: "bytes" }>["value"];

function stringKeywords(rules: StringRules, zeroToo: boolean): Schema {
  const { minLen, maxLen, len, pattern, prefix, in: among, wellKnown } = rules;
  const format = wellKnown.case === undefined ? undefined : stringFormats[wellKnown.case];
  if (wellKnown.case !== undefined && wellKnown.value === true && format === undefined) {
    throw new Error(`there is no word for the rule string.${wellKnown.case}`);
  }
  const bounds = {
    minLength: count(minLen) ?? count(len),
    maxLength: count(maxLen) ?? count(len),
    pattern: pattern || (prefix === "" ? undefined : `^${RegExp.escape(prefix)}`),
    enum: among.length > 0 ? among : undefined,
    format,
  };
  if (!zeroToo) return bounds;
  const { minLength, format: exact, pattern: form, ...rest } = bounds;
  // The empty text is let through, whatever else is asked for.
  return {
    ...rest,
    ...(minLength !== undefined && form === undefined && exact === undefined
      ? { anyOf: [{ maxLength: 0 }, { minLength }] }
      : {}),
    ...(form === undefined ? {} : { pattern: `^$|${form}` }),
    ...(exact === undefined ? {} : { anyOf: [{ maxLength: 0 }, { format: exact }] }),
  };
}

/** Formats of JSON Schema for those of protovalidate. */
const stringFormats: Readonly<Record<string, string>> = {
  uuid: "uuid",
  email: "email",
  hostname: "hostname",
  uri: "uri",
  ipv4: "ipv4",
  ipv6: "ipv6",
};

/** Base64 has four characters for three bytes. */
function bytesKeywords({ minLen, maxLen, len }: BytesRules): Schema {
  const base64Length = (bytes: number | undefined) => bytes && Math.ceil(bytes / 3) * 4;
  const least = count(minLen) ?? count(len);
  return {
    minLength: least && Math.ceil((least * 4) / 3),
    maxLength: base64Length(count(maxLen) ?? count(len)),
  };
}

/** A length that is set. */
function count(length: bigint): number | undefined {
  return length > 0n ? Number(length) : undefined;
}

/** Rules with bounds, whatever of. */
interface Bounds {
  readonly lessThan?: { readonly case?: string | undefined; readonly value?: unknown };
  readonly greaterThan?: { readonly case?: string | undefined; readonly value?: unknown };
  readonly in?: readonly unknown[];
}

function boundsOf({ lessThan, greaterThan, in: among }: Bounds): Schema {
  return {
    minimum: greaterThan?.case === "gte" ? greaterThan.value : undefined,
    exclusiveMinimum: greaterThan?.case === "gt" ? greaterThan.value : undefined,
    maximum: lessThan?.case === "lte" ? lessThan.value : undefined,
    exclusiveMaximum: lessThan?.case === "lt" ? lessThan.value : undefined,
    enum: among !== undefined && among.length > 0 ? among : undefined,
  };
}

function boundWords({ lessThan, greaterThan }: Bounds): string[] {
  const words = [greaterThan, lessThan].flatMap((bound) => {
    const comparison = bound?.case === undefined ? undefined : comparisons[bound.case];
    return comparison === undefined ? [] : [`${comparison} ${inWords(bound?.value)}`];
  });
  return words.length > 0 ? [`Must be ${words.join(" and ")}.`] : [];
}

const comparisons: Readonly<Record<string, string>> = {
  gte: "at least",
  gt: "more than",
  lte: "at most",
  lt: "less than",
};

function inWords(value: unknown): string {
  if (typeof value === "bigint" || typeof value === "number") return String(value);
  const { seconds, nanos } = value as Message & { readonly seconds: bigint; readonly nanos: number };
  return `${Number(seconds) + nanos / 1e9} s`;
}

function sentences(rules: readonly { readonly message: string }[]): string[] {
  return rules
    .map(({ message }) => message)
    .filter((message) => message !== "")
    .map((text) => `Rule: ${text}.`);
}

/** Whether a text, number, enum, list or map that is empty breaks the keywords. */
function refusesZero(keywords: Schema): boolean {
  const { minLength, minItems, minProperties, format, pattern, minimum, exclusiveMinimum, notIn } = keywords;
  return (
    [minLength, minItems, minProperties].some((least) => Number(least ?? 0) > 0) ||
    format !== undefined ||
    (typeof pattern === "string" && !new RegExp(pattern, "u").test("")) ||
    Number(minimum ?? 0) > 0 ||
    Number(exclusiveMinimum ?? -1) >= 0 ||
    (Array.isArray(notIn) && notIn.includes(0))
  );
}

function defined(keywords: Schema): Schema {
  return Object.fromEntries(Object.entries(keywords).filter(([, value]) => value !== undefined));
}
