import {
  type DescEnum,
  type DescField,
  type DescMessage,
  getOption,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { field as fieldRules, Ignore } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { textFault } from "../../call/text-fault.ts";
import type { FieldViolation } from "../../errors.ts";

/** Finds the fields of a message that hold what no door could give back. */
type Finder = (message: Message, path: string, found: FieldViolation[]) => void;

/** What is wrong with one value that is no message, in words; undefined if nothing is. */
type ValueRule = (value: never) => string | undefined;

/**
 * The rule for values, the same for every field of every request: what is accepted can be stored by PostgreSQL, carried by
 * JavaScript and read back in every encoding. The contract's own rules for a field come on top.
 *
 * | kind | rule |
 * | --- | --- |
 * | text | well-formed Unicode without NUL |
 * | time | years 1 to 9999, nanoseconds 0 to 999,999,999 (as ProtoJSON) |
 * | duration | up to 10,000 years, seconds and nanoseconds of one sign (as ProtoJSON) |
 * | 64-bit whole number | below 2^53 in size |
 * | float, double | finite |
 * | enum | a value of the contract |
 *
 * Items that the contract exempts by `IGNORE_ALWAYS`, which are heartbeats, are judged one by one elsewhere.
 */
export class ValueRules {
  readonly #finders = new Map<string, Finder>();

  /** Every violation in a message, in the order of its fields. */
  violations(schema: DescMessage, message: Message): FieldViolation[] {
    const found: FieldViolation[] = [];
    this.#finder(schema)(message, "", found);
    return found;
  }

  /** A message type may hold itself, so what its fields need is looked up when it is first used. */
  #finder(schema: DescMessage): Finder {
    let finder = this.#finders.get(schema.typeName);
    if (finder === undefined) {
      finder = this.#compiled(schema);
      this.#finders.set(schema.typeName, finder);
    }
    return finder;
  }

  #compiled(schema: DescMessage): Finder {
    const whole = wholeRules[schema.typeName];
    if (whole !== undefined) {
      return (message, path, found) => note(whole(message as never), path, found);
    }
    const fields = schema.fields.flatMap((field) => {
      const finder = this.#fieldFinder(field);
      return finder === undefined ? [] : [{ field, finder }];
    });
    return (message, path, found) => {
      for (const { field, finder } of fields) {
        const value = fieldValue(message, field);
        if (value === undefined) continue;
        finder(value, path === "" ? field.name : `${path}.${field.name}`, found);
      }
    };
  }

  #fieldFinder(
    field: DescField,
  ): ((value: unknown, path: string, found: FieldViolation[]) => void) | undefined {
    const finder = this.#singleFinder(field);
    switch (field.fieldKind) {
      case "list": {
        if (finder === undefined || areItemsExempt(field)) return undefined;
        return (items, path, found) => {
          for (const [index, item] of (items as unknown[]).entries())
            finder(item, `${path}[${index}]`, found);
        };
      }
      case "map": {
        const keyRule = scalarRules[field.mapKey];
        return (entries, path, found) => {
          for (const [key, value] of Object.entries(entries as object)) {
            const wrong = keyRule?.(key as never);
            if (wrong !== undefined) note(`its names ${wrong}`, path, found);
            else finder?.(value, `${path}["${key}"]`, found);
          }
        };
      }
      default:
        return finder;
    }
  }

  /** What looks at one value of a field, an item or an entry; undefined if any value will do. */
  #singleFinder(
    field: DescField,
  ): ((value: unknown, path: string, found: FieldViolation[]) => void) | undefined {
    if (field.message !== undefined) {
      const { message } = field;
      return (value, path, found) => this.#finder(message)(value as Message, path, found);
    }
    const rule = field.enum === undefined ? scalarRules[field.scalar as ScalarType] : enumRule(field.enum);
    return rule === undefined ? undefined : (value, path, found) => note(rule(value as never), path, found);
  }
}

function note(wrong: string | undefined, field: string, found: FieldViolation[]): void {
  if (wrong !== undefined) found.push({ field, description: wrong });
}

/** What a field holds; undefined if it is not set, or another one of its oneof is. */
function fieldValue(message: Message, { oneof, localName }: DescField): unknown {
  const values = message as unknown as Record<string, unknown>;
  if (oneof === undefined) return values[localName];
  const chosen = values[oneof.localName] as { readonly case?: string; readonly value?: unknown };
  return chosen.case === localName ? chosen.value : undefined;
}

function areItemsExempt(field: DescField): boolean {
  const { type } = getOption(field, fieldRules);
  return type.case === "repeated" && type.value.items?.ignore === Ignore.ALWAYS;
}

const wholeNumberRule = (value: bigint): string | undefined =>
  value <= maxWhole && value >= -maxWhole ? undefined : "must be a whole number below 2^53";

const finiteRule = (value: number): string | undefined =>
  Number.isFinite(value) ? undefined : "must be a finite number";

/** The rules of scalars by type; any other will do. */
const scalarRules: { readonly [type in ScalarType]?: ValueRule } = {
  [ScalarType.STRING]: textFault,
  [ScalarType.INT64]: wholeNumberRule,
  [ScalarType.UINT64]: wholeNumberRule,
  [ScalarType.SINT64]: wholeNumberRule,
  [ScalarType.FIXED64]: wholeNumberRule,
  [ScalarType.SFIXED64]: wholeNumberRule,
  [ScalarType.FLOAT]: finiteRule,
  [ScalarType.DOUBLE]: finiteRule,
};

interface WireTime {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** The rules of messages that are one value. */
const wholeRules: { readonly [typeName: string]: ValueRule | undefined } = {
  [TimestampSchema.typeName]: ({ seconds, nanos }: WireTime) =>
    seconds >= firstSecond && seconds <= lastSecond && nanos >= 0 && nanos <= maxNanos
      ? undefined
      : "must be a time of the years 1 to 9999",
  [DurationSchema.typeName]: ({ seconds, nanos }: WireTime) =>
    seconds <= maxSeconds &&
    seconds >= -maxSeconds &&
    Math.abs(nanos) <= maxNanos &&
    isOneSign(seconds, nanos)
      ? undefined
      : "must be a duration of at most 10,000 years, with seconds and nanoseconds of one sign",
};

function isOneSign(seconds: bigint, nanos: number): boolean {
  return seconds === 0n || nanos === 0 || seconds > 0n === nanos > 0;
}

function enumRule({ value: known }: DescEnum): ValueRule {
  return (value: number) => (known[value] === undefined ? `has no value ${value}` : undefined);
}

/** Beyond it JavaScript's numbers have gaps. */
const maxWhole = BigInt(Number.MAX_SAFE_INTEGER);

/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what google.protobuf.Timestamp allows. */
const firstSecond = -62_135_596_800n;
const lastSecond = 253_402_300_799n;

/** What google.protobuf.Duration allows. */
const maxSeconds = 315_576_000_000n;

const maxNanos = 999_999_999;
