import { type JsonValue, ScalarType } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";

/** A scalar as ProtoJSON has it, or what it must be. */
export type ScalarReading = { readonly value: JsonValue } | { readonly fault: string };

/** Reads a scalar from JSON (https://protobuf.dev/programming-guides/json). */
export function scalarFromJson(type: ScalarType, value: JsonValue): ScalarReading {
  switch (type) {
    case ScalarType.STRING:
      return typeof value === "string" ? { value } : { fault: "must be a text" };
    case ScalarType.BOOL:
      return typeof value === "boolean" ? { value } : { fault: "must be true or false" };
    case ScalarType.BYTES:
      return isBase64(value) ? { value } : { fault: "must be bytes in base64" };
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return isNumber(value) ? { value } : { fault: "must be a number" };
    default:
      return wholeNumber(type, value);
  }
}

/** A whole number as a number or text; `1.0` and `1e2` are whole as well. */
function wholeNumber(type: ScalarType, value: JsonValue): ScalarReading {
  const [least, most] = ranges[type] ?? [-maxInt64 - 1n, maxInt64];
  const whole = wholeOf(value);
  if (whole === undefined || whole < least || whole > most) {
    return { fault: `must be a whole number from ${least} to ${most}` };
  }
  return { value: String(whole) };
}

function wholeOf(value: JsonValue): bigint | undefined {
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : undefined;
  if (typeof value !== "string" || value.length > maxDigits) return undefined;
  if (/^-?(?:0|[1-9]\d*)$/.test(value)) return BigInt(value);
  if (!decimal.test(value)) return undefined;
  const number = Number(value);
  return Number.isSafeInteger(number) ? BigInt(number) : undefined;
}

function isNumber(value: JsonValue): boolean {
  if (typeof value === "number") return true;
  // What is not finite is refused for what it is, by the rule of all values.
  if (value === "NaN" || value === "Infinity" || value === "-Infinity") return true;
  return typeof value === "string" && value.length <= maxDigits && decimal.test(value);
}

function isBase64(value: JsonValue): boolean {
  if (typeof value !== "string") return false;
  try {
    base64Decode(value);
    return true;
  } catch {
    return false;
  }
}

/** A number of JSON (RFC 8259, section 6). */
const decimal = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]?\d+)?$/i;

/** More digits than any number needs; the longest double has some 770. */
const maxDigits = 1_100;

const maxInt32 = 2n ** 31n - 1n;
const maxInt64 = 2n ** 63n - 1n;

const unsigned32 = [0n, 2n ** 32n - 1n] as const;
const signed32 = [-maxInt32 - 1n, maxInt32] as const;
const unsigned64 = [0n, 2n ** 64n - 1n] as const;

const ranges: { readonly [type in ScalarType]?: readonly [least: bigint, most: bigint] } = {
  [ScalarType.INT32]: signed32,
  [ScalarType.SINT32]: signed32,
  [ScalarType.SFIXED32]: signed32,
  [ScalarType.UINT32]: unsigned32,
  [ScalarType.FIXED32]: unsigned32,
  [ScalarType.UINT64]: unsigned64,
  [ScalarType.FIXED64]: unsigned64,
};
