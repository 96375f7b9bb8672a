import { type ApiSchema, referredName } from "./document.ts";

/** The least value that a schema allows: an object has the fields that it must have, with examples where there are some. */
export function sampleOf(schema: ApiSchema, schemas: Readonly<Record<string, ApiSchema>>): unknown {
  if (schema.$ref !== undefined) {
    const referred = schemas[referredName(schema.$ref)];
    return referred === undefined ? null : sampleOf(referred, schemas);
  }
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return schema.enum.find(isSpecified) ?? schema.enum[0];
  switch ([schema.type].flat()[0]) {
    case "object":
      return Object.fromEntries(
        (schema.required ?? []).map((name) => [name, sampleOf(schema.properties?.[name] ?? {}, schemas)]),
      );
    case "array":
      return Array.from({ length: schema.minItems ?? 0 }, () => sampleOf(schema.items ?? {}, schemas));
    case "boolean":
      return true;
    case "integer":
    case "number":
      return Math.max(
        schema.minimum ?? 0,
        schema.exclusiveMinimum === undefined ? 0 : schema.exclusiveMinimum + 1,
      );
    case "string":
      return sampleText(schema);
    default:
      return {};
  }
}

function isSpecified(name: unknown): boolean {
  return !String(name).endsWith("_UNSPECIFIED");
}

function sampleText({ examples, format, pattern, contentEncoding, minLength = 0 }: ApiSchema): string {
  const [example] = examples ?? [];
  if (typeof example === "string") return example;
  if (format !== undefined) return formatted[format] ?? "text";
  if (contentEncoding !== undefined) return "AAAA".repeat(Math.max(1, Math.ceil(minLength / 4)));
  const expression = pattern === undefined ? undefined : new RegExp(pattern, "u");
  const text = candidates.find(
    (candidate) => candidate.length >= minLength && (expression === undefined || expression.test(candidate)),
  );
  return text ?? "x".repeat(minLength);
}

const formatted: Readonly<Record<string, string>> = {
  uuid: "01980000-0000-7000-8000-000000000000",
  "date-time": "2026-01-01T00:00:00Z",
  int64: "1",
  uint64: "1",
  uri: "https://receiver.invalid",
};

/** Texts of which one fits any pattern of the contract. */
const candidates = ["text", "60s", "1.0.0", "0".repeat(64), "some text of some length"];
