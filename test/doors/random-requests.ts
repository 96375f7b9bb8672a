import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonValue,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { hostileTexts, isWhole, type Json, jsonText } from "./hostile-requests.ts";
import type { Random } from "./random.ts";

/**
 * Request messages by chance, each field with a value that its type has, however unlikely: what no single field is to be blamed
 * for. Bytes and texts are then damaged as on a bad line.
 */
export class RandomRequests {
  readonly #random: Random;
  readonly #known: readonly string[];

  /** `known`: ids, names and versions that there are, which lead further than invented ones. */
  constructor(random: Random, known: readonly string[]) {
    this.#random = random;
    this.#known = known;
  }

  /** A message, as one that would do is, but for some of its fields. */
  message(schema: DescMessage, base: { readonly [name: string]: Json }): { readonly [name: string]: Json } {
    const random = this.#random;
    const message: { [name: string]: Json } = {};
    for (const [name, value] of Object.entries(base)) if (random.chance(0.9)) message[name] = value;
    const share = random.pick([0, 0.1, 0.3, 0.8]);
    for (const field of schema.fields)
      if (random.chance(share)) message[field.jsonName] = this.#field(field, 0);
    return message;
  }

  /** Its bytes; undefined if there is no such message: then only JSON can say it. */
  bytes(schema: DescMessage, message: { readonly [name: string]: Json }): Uint8Array | undefined {
    try {
      return toBinary(schema, fromJson(schema, message as JsonValue, { ignoreUnknownFields: true }));
    } catch {
      return undefined;
    }
  }

  /** The same bytes, or (one time in `odds`) damaged ones. */
  damaged(bytes: Uint8Array, odds = 3): Buffer {
    const random = this.#random;
    const copy = Buffer.from(bytes);
    if (!random.chance(1 / odds)) return copy;
    const at = random.below(copy.length + 1);
    switch (random.below(5)) {
      case 0:
        return copy.subarray(0, at);
      case 1:
        for (let flips = 1 + random.below(4); flips > 0 && copy.length > 0; flips--) {
          const where = random.below(copy.length);
          copy.writeUInt8(copy.readUInt8(where) ^ (1 << random.below(8)), where);
        }
        return copy;
      case 2:
        return Buffer.concat([copy.subarray(0, at), this.noise(1 + random.below(40)), copy.subarray(at)]);
      case 3:
        return Buffer.concat([copy, copy.subarray(at)]);
      default:
        return this.noise(random.below(200));
    }
  }

  /** Bytes that mean nothing. */
  noise(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.#random.below(256)));
  }

  /** A text: one that is known, one that something stumbles over, or one that looks like something. */
  text(): string {
    const random = this.#random;
    const kind = random.below(4);
    if (kind < 2) return random.pick(this.#known);
    if (kind === 2) return random.pick(hostileTexts)[1];
    return random.pick(telling);
  }

  #field(field: DescField, depth: number): Json {
    const random = this.#random;
    switch (field.fieldKind) {
      case "list":
        return Array.from({ length: random.pick([0, 1, 1, 2, 3, 60]) }, () => this.#single(field, depth + 1));
      case "map":
        return Object.fromEntries(
          Array.from({ length: random.pick([0, 1, 3]) }, () => [this.text(), this.#single(field, depth)]),
        );
      default:
        return this.#single(field, depth);
    }
  }

  #single(field: DescField, depth: number): Json {
    const random = this.#random;
    if (isWhole(field))
      return random.pick(field.message?.typeName === TimestampSchema.typeName ? times : durations);
    const { message } = field;
    if (message !== undefined) {
      if (depth > 3) return {};
      const chosen = message.fields.filter(() => random.chance(0.4));
      return Object.fromEntries(chosen.map((inner) => [inner.jsonName, this.#field(inner, depth + 1)]));
    }
    if (field.enum !== undefined)
      return random.pick([...field.enum.values.map(({ number }) => number), 0, 77, -1]);
    switch (field.scalar) {
      case ScalarType.STRING:
        return this.text();
      case ScalarType.BYTES:
        return this.noise(random.pick([0, 1, 16, 300])).toString("base64");
      case ScalarType.BOOL:
        return random.chance(0.5);
      case ScalarType.FLOAT:
      case ScalarType.DOUBLE:
        return random.pick([0, -1, 1.5, 51.5, -179.9, 90, "NaN", "Infinity", 3e38, -3e38, 1e-40]);
      case ScalarType.INT64:
      case ScalarType.SINT64:
      case ScalarType.SFIXED64:
        return random.pick(["0", "-1", "1", "7", "100", "9007199254740993", "9223372036854775807"]);
      case ScalarType.UINT64:
      case ScalarType.FIXED64:
        return random.pick(["0", "1", "7", "100", "9007199254740993", "18446744073709551615"]);
      case ScalarType.UINT32:
      case ScalarType.FIXED32:
        return random.pick([0, 1, 10, 1000, 2 ** 31, 2 ** 32 - 1]);
      default:
        return random.pick([0, 1, -1, 10, 1000, 2 ** 31 - 1, -(2 ** 31)]);
    }
  }
}

/** The JSON text of a message, sometimes damaged. */
export function damagedJson(requests: RandomRequests, message: Json): Buffer {
  return requests.damaged(Buffer.from(jsonText(message)));
}

/** What filters, orders, cursors, masks, versions and addresses are made of. */
const telling: readonly string[] = [
  "",
  "1.0.0",
  "1.0.0-rc.1+build",
  'device_type = "thermostat" AND battery_percent < 20',
  "((((((((((((((((((((a = 1",
  "NOT NOT NOT standing = BLOCKED OR tags:x",
  "battery_percent desc, serial_number",
  "eyJhIjoxfQ",
  "AAAAAAAAAAAAAAAAAAAAAA",
  "*",
  "name,description",
  "00000000-0000-0000-0000-000000000000",
  "ffffffff-ffff-ffff-ffff-ffffffffffff",
  "Europe/Berlin",
  "0".repeat(64),
  "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----",
  '{"a":1}',
];

const times: readonly string[] = [
  "0001-01-01T00:00:00Z",
  "1969-12-31T23:59:59.999999999Z",
  "2026-01-01T00:00:00Z",
  "2026-06-15T12:00:00.123456Z",
  "2026-12-31T23:59:59Z",
  "9999-12-31T23:59:59.999999999Z",
];

const durations: readonly string[] = [
  "0s",
  "-1s",
  "0.000000001s",
  "60s",
  "86400s",
  "315576000000s",
  "-315576000000s",
];
