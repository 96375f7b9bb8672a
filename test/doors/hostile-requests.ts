import { type DescField, type DescMessage, type Message, ScalarType, toBinary } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";

/** A request of which one field holds something that no client should send, in both encodings. */
export interface HostileRequest {
  /** The field, by the contract's names, and what was put there. */
  readonly what: string;
  /** The message within the request that has the field; undefined if it is the request's own. */
  readonly within: string | undefined;
  /** Undefined where only JSON can say it. */
  readonly binary: Uint8Array | undefined;
  /** Undefined where only bytes can say it. */
  readonly json: Json | undefined;
}

export type Json =
  | null
  | boolean
  | number
  | string
  | RawJson
  | readonly Json[]
  | { readonly [name: string]: Json };

/** JSON text that goes out as it is: what no value of JavaScript stands for, such as 1e400. */
class RawJson {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Writes JSON, with the raw pieces as they are. */
export function jsonText(value: Json): string {
  if (value instanceof RawJson) return value.text;
  if (Array.isArray(value)) return `[${value.map((item) => jsonText(item as Json)).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value as { readonly [name: string]: Json });
    return `{${entries.map(([name, item]) => `${JSON.stringify(name)}:${jsonText(item)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/**
 * Every field of a request message, those of the messages in it included, each with every hostile value of its kind; all other
 * fields as in a request that would do.
 *
 * @param baseOf what would do, asked for once a request
 */
export function* hostileRequests(schema: DescMessage, baseOf: () => Base): Generator<HostileRequest> {
  for (const path of pathsOf(schema, [])) {
    const last = path.at(-1) as DescField;
    const what = path.map(({ name }) => name).join(".");
    for (const hostile of hostileValues(last)) {
      const base = baseOf();
      yield {
        what: `${what} = ${hostile.name}`,
        within: path.length === 1 ? undefined : last.parent?.typeName,
        json: hostile.json === undefined ? undefined : withJson(base.json, path, hostile.json),
        binary:
          hostile.binary === undefined ? undefined : withBytes(schema, base.message, path, hostile.binary),
      };
    }
  }
}

/** A request that would do, in both forms. */
export interface Base {
  readonly message: Message;
  readonly json: { readonly [name: string]: Json };
}

/** A hostile value: how JSON says it, and the field's whole bytes with its tag. */
interface Hostile {
  readonly name: string;
  readonly json: Json | undefined;
  readonly binary: Uint8Array | undefined;
}

/** The deepest that messages in messages are looked into: deeper ones are of kinds that stand elsewhere as well. */
const maxDepth = 4;

function* pathsOf(schema: DescMessage, above: readonly DescField[]): Generator<readonly DescField[]> {
  for (const field of schema.fields) {
    const path = [...above, field];
    yield path;
    const inner = isWhole(field) ? undefined : field.message;
    const isAgain = inner !== undefined && above.some(({ message }) => message === inner);
    if (inner !== undefined && !isAgain && path.length < maxDepth) yield* pathsOf(inner, path);
  }
}

/** Whether a message is one value. */
export function isWhole({ message }: DescField): boolean {
  return message?.typeName === TimestampSchema.typeName || message?.typeName === DurationSchema.typeName;
}

/** The JSON with a value at a path; lists and maps on the way get one item. */
function withJson(
  base: Json | undefined,
  path: readonly DescField[],
  value: Json,
): { readonly [name: string]: Json } {
  const [field, ...rest] = path as [DescField, ...DescField[]];
  const holder = (base ?? {}) as { readonly [name: string]: Json };
  const before = holder[field.jsonName];
  const kept = Object.fromEntries(
    Object.entries(holder).filter(
      ([name]) => field.oneof?.fields.every(({ jsonName }) => jsonName !== name) ?? true,
    ),
  );
  if (rest.length === 0) return { ...kept, [field.jsonName]: value };
  if (field.fieldKind === "list") {
    return { ...kept, [field.jsonName]: [withJson((before as Json[] | undefined)?.[0], rest, value)] };
  }
  if (field.fieldKind === "map")
    return { ...kept, [field.jsonName]: { key: withJson(undefined, rest, value) } };
  return { ...kept, [field.jsonName]: withJson(before, rest, value) };
}

/**
 * The bytes of a message with a field's bytes after them: of two values of a field the last counts, and messages are merged, so
 * what stands first is what the base says.
 */
function withBytes(
  schema: DescMessage,
  base: Message | undefined,
  path: readonly DescField[],
  bytes: Uint8Array,
): Uint8Array {
  const [field, ...rest] = path as [DescField, ...DescField[]];
  const before = base === undefined ? new Uint8Array() : toBinary(schema, base);
  if (rest.length === 0) return joined(before, bytes);
  const inner = field.message as DescMessage;
  const nested = withBytes(inner, nestedBase(base, field), rest, bytes);
  if (field.fieldKind === "map")
    return joined(before, delimited(field.number, joined(delimited(1, text("key")), delimited(2, nested))));
  return joined(before, delimited(field.number, nested));
}

function nestedBase(base: Message | undefined, field: DescField): Message | undefined {
  if (base === undefined || field.fieldKind !== "message") return undefined;
  const value = reflect(field.parent as DescMessage, base).get(field) as
    | { readonly message?: Message }
    | undefined;
  return value?.message;
}

function* hostileValues(field: DescField): Generator<Hostile> {
  const one = [...hostileSingles(field)];
  switch (field.fieldKind) {
    case "list":
      for (const { name, json, binary } of one)
        yield { name: `[${name}]`, json: json === undefined ? undefined : [json], binary };
      yield {
        name: "2,000 items",
        json: Array.from({ length: 2_000 }, () => plainJson(field)),
        binary: joined(...Array.from({ length: 2_000 }, () => plainBytes(field))),
      };
      yield { name: "null", json: null, binary: undefined };
      return;
    case "map":
      for (const { name, json, binary } of one) {
        yield {
          name: `{key: ${name}}`,
          json: json === undefined ? undefined : { key: json },
          binary:
            binary === undefined
              ? undefined
              : delimited(field.number, joined(delimited(1, text("key")), binary)),
        };
      }
      for (const [name, key] of hostileTexts) {
        yield {
          name: `{${name}: …}`,
          json: { [key]: plainJson(field) },
          binary: key.isWellFormed()
            ? delimited(field.number, joined(delimited(1, text(key)), plainBytes(field, 2)))
            : undefined,
        };
      }
      yield {
        name: "500 entries",
        json: Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`k${at}`, plainJson(field)])),
        binary: joined(
          ...Array.from({ length: 500 }, (_, at) =>
            delimited(field.number, joined(delimited(1, text(`k${at}`)), plainBytes(field, 2))),
          ),
        ),
      };
      return;
    default:
      yield* one;
      yield { name: "an object", json: { unknown: 1 }, binary: undefined };
      yield { name: "a list", json: [[]], binary: undefined };
  }
}

/** Texts that something or other stumbles over. */
export const hostileTexts: readonly (readonly [string, string])[] = [
  ["NUL", "\0"],
  ["NUL within", "a\0b"],
  ["lone surrogate", "a\ud800"],
  ["20,000 characters", "x".repeat(20_000)],
  ["4,000 astral characters", "🀄".repeat(4_000)],
  ["a quote", "' OR 1=1 --"],
  ["a wildcard", "%_\\"],
  ["direction marks", "\u202eabc\u2066"],
  ["__proto__", "__proto__"],
  ["blanks", "   "],
  ["a path", "../../../etc/passwd"],
  ["NULL", "NULL"],
  ["a byte order mark", "\ufeff"],
  ["a bell", "\u0007\u001b[31m"],
  ["markup", "<script>alert(1)</script>"],
  ["a template", "${jndi:ldap://x}{{7*7}}"],
];

const wholes64: readonly bigint[] = [
  0n,
  -1n,
  1n,
  2n ** 31n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n - 1n,
  -(2n ** 63n),
];
const wholes32: readonly number[] = [0, -1, 1, 2 ** 31 - 1, -(2 ** 31)];
const unsigned32: readonly number[] = [0, 1, 2 ** 31, 2 ** 32 - 1];
const reals: readonly number[] = [Number.NaN, Infinity, -Infinity, 1e308, -1e308, 5e-324, -0, 1e39];

/** Seconds and nanoseconds about the ends of what anything can hold. */
const wireTimes: readonly (readonly [bigint, number])[] = [
  [-62_135_596_800n, 0],
  [-62_135_596_801n, 0],
  [253_402_300_799n, 999_999_999],
  [253_402_300_800n, 0],
  [315_576_000_000n, 0],
  [315_576_000_001n, 0],
  [2n ** 63n - 1n, 0],
  [-(2n ** 63n), 0],
  [0n, -1],
  [0n, 2 ** 31 - 1],
  [1n, -1],
  [-1n, 1],
  [0n, 999_999_999],
  [0n, 0],
];

const timeTexts: readonly string[] = [
  "9999-12-31T23:59:59.9999999Z",
  "10000-01-01T00:00:00Z",
  "0001-01-01T00:00:00Z",
  "0000-12-31T23:59:59Z",
  "2026-13-40T25:61:61Z",
  "2026-01-01T00:00:00",
  "1e10",
  "",
];

const durationTexts: readonly string[] = [
  "315576000000s",
  "315576000001s",
  "-1s",
  "0.0000000001s",
  "1e9s",
  "9".repeat(40),
  "s",
  "",
];

function* hostileSingles(field: DescField): Generator<Hostile> {
  const at = field.fieldKind === "map" ? 2 : field.number;
  if (isWhole(field)) {
    for (const [seconds, nanos] of wireTimes) {
      const inner = joined(varintField(1, seconds), varintField(2, BigInt(nanos)));
      yield { name: `${seconds} s ${nanos} ns`, json: undefined, binary: delimited(at, inner) };
    }
    const isTime = field.message?.typeName === TimestampSchema.typeName;
    for (const json of isTime ? timeTexts : durationTexts)
      yield { name: JSON.stringify(json), json, binary: undefined };
    return;
  }
  if (field.message !== undefined) {
    yield { name: "an empty message", json: {}, binary: delimited(at, new Uint8Array()) };
    yield { name: "broken bytes", json: "x", binary: delimited(at, Uint8Array.of(0xff, 0xff)) };
    return;
  }
  if (field.enum !== undefined) {
    for (const value of [0, 99, -1, 2 ** 31 - 1])
      yield { name: String(value), json: value, binary: varintField(at, BigInt(value)) };
    yield { name: "NOPE", json: "NOPE", binary: undefined };
    return;
  }
  yield* hostileScalars(field.scalar as ScalarType, at);
}

function* hostileScalars(type: ScalarType, at: number): Generator<Hostile> {
  switch (type) {
    case ScalarType.STRING:
      for (const [name, value] of hostileTexts) {
        yield { name, json: value, binary: value.isWellFormed() ? delimited(at, text(value)) : undefined };
      }
      yield { name: "no UTF-8", json: undefined, binary: delimited(at, Uint8Array.of(0x61, 0xe4, 0x62)) };
      yield { name: "a number", json: 5, binary: undefined };
      return;
    case ScalarType.BYTES:
      yield { name: "nothing", json: "", binary: delimited(at, new Uint8Array()) };
      yield { name: "zeros", json: "AAAA", binary: delimited(at, new Uint8Array(3)) };
      yield {
        name: "100,000 bytes",
        json: "A".repeat(100_000),
        binary: delimited(at, new Uint8Array(100_000)),
      };
      yield { name: "no base64", json: "%%%", binary: undefined };
      return;
    case ScalarType.BOOL:
      yield { name: "true", json: true, binary: varintField(at, 1n) };
      yield { name: "2", json: 2, binary: varintField(at, 2n) };
      return;
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      for (const value of reals) {
        yield {
          name: String(value),
          json: Number.isFinite(value) ? value : String(value),
          binary: type === ScalarType.FLOAT ? floatField(at, value) : doubleField(at, value),
        };
      }
      yield { name: "1e400", json: new RawJson("1e400"), binary: undefined };
      return;
    case ScalarType.INT64:
    case ScalarType.UINT64:
      for (const value of wholes64)
        yield { name: String(value), json: String(value), binary: varintField(at, value) };
      yield { name: "a fraction", json: new RawJson("1.5"), binary: undefined };
      return;
    case ScalarType.UINT32:
      for (const value of unsigned32)
        yield { name: String(value), json: value, binary: varintField(at, BigInt(value)) };
      yield { name: "-1", json: -1, binary: undefined };
      return;
    case ScalarType.FIXED32:
      for (const value of unsigned32)
        yield { name: String(value), json: value, binary: fixed32Field(at, value) };
      return;
    case ScalarType.SINT32:
    case ScalarType.INT32:
      for (const value of wholes32)
        yield { name: String(value), json: value, binary: varintField(at, BigInt(value)) };
      return;
    default:
      throw new Error(`nobody said what is hostile for a field of type ${ScalarType[type]}`);
  }
}

/** A value that says nothing, for lists and maps that are only long. */
function plainJson(field: DescField): Json {
  if (field.message !== undefined) return isWhole(field) ? "" : {};
  if (field.enum !== undefined || field.scalar !== ScalarType.STRING) return 0;
  return "x";
}

function plainBytes(field: DescField, at = field.number): Uint8Array {
  if (field.message !== undefined) return delimited(at, new Uint8Array());
  if (field.scalar === ScalarType.STRING) return delimited(at, text("x"));
  if (field.scalar === ScalarType.DOUBLE) return doubleField(at, 0);
  return varintField(at, 1n);
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

function varintField(number: number, value: bigint): Uint8Array {
  return new BinaryWriter().tag(number, WireType.Varint).int64(value).finish();
}

function delimited(number: number, content: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(content).finish();
}

function fixed32Field(number: number, value: number): Uint8Array {
  return new BinaryWriter().tag(number, WireType.Bit32).fixed32(value).finish();
}

function floatField(number: number, value: number): Uint8Array {
  // Not by the writer, which refuses what a float does not hold: such a number is meant to become infinite.
  return new BinaryWriter()
    .tag(number, WireType.Bit32)
    .raw(new Uint8Array(Float32Array.of(value).buffer))
    .finish();
}

function doubleField(number: number, value: number): Uint8Array {
  return new BinaryWriter().tag(number, WireType.Bit64).double(value).finish();
}
