import { invalidArgument, type OtaError } from "../errors.ts";

/**
 * What a file beside a firmware says of it: a software bill of materials (CycloneDX or SPDX, in JSON), a SUIT envelope (RFC 9019), or
 * an in-toto attestation such as SLSA provenance.
 */
export type AttachmentKind = "cyclonedx" | "spdx" | "suit" | "in-toto";

export const attachmentKinds = [
  "cyclonedx",
  "spdx",
  "suit",
  "in-toto",
] as const satisfies readonly AttachmentKind[];

/** A file beside a firmware, as the manifest binds it. */
export interface AttachmentDigest {
  readonly kind: AttachmentKind;
  /** SHA-256 of the file, 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** The most files beside one firmware. */
export const maxAttachments = 16;

/** What a file is, by what it says of itself. */
export interface AttachmentFormat {
  readonly kind: AttachmentKind;
  /** With its version, or what it attests, for people: `CycloneDX 1.6`, `SPDX-2.3`, `https://slsa.dev/provenance/v1`. */
  readonly format: string;
}

/**
 * Tells what a file is. Reads only what names its format; whether the rest of it makes sense is for those who use it. Throws
 * `INVALID_ATTACHMENT` for anything else than what {@link AttachmentKind} lists.
 */
export function attachmentFormat(content: Uint8Array): AttachmentFormat {
  if (isSuitEnvelope(content)) return { kind: "suit", format: "SUIT envelope" };
  const document = parseJson(content);
  const found = cycloneDx(document) ?? spdx(document) ?? inToto(document);
  if (found === undefined) throw invalidAttachment("is JSON, but neither CycloneDX, SPDX nor in-toto");
  return found;
}

type Json = Readonly<Record<string, unknown>>;

/** Tag 107 of CBOR in its one-byte form, and a map (draft-ietf-suit-manifest, section 8.2). */
function isSuitEnvelope(content: Uint8Array): boolean {
  const [tag, number, map = 0] = content;
  return tag === 0xd8 && number === 107 && map >> 5 === 5;
}

function parseJson(content: Uint8Array): Json {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(content));
  } catch {
    throw invalidAttachment("is neither JSON in UTF-8 nor a SUIT envelope with its tag (107)");
  }
  return objectOf(value) ?? {};
}

function cycloneDx({ bomFormat, specVersion }: Json): AttachmentFormat | undefined {
  const version = textOf(specVersion);
  if (bomFormat !== "CycloneDX" || version === undefined) return undefined;
  return { kind: "cyclonedx", format: `CycloneDX ${version}` };
}

function spdx(document: Json): AttachmentFormat | undefined {
  const version = textOf(document["spdxVersion"]);
  if (version?.startsWith("SPDX-") === true) return { kind: "spdx", format: version };
  // SPDX 3 is JSON-LD, and says its version by its context.
  const context = [document["@context"]].flat().find((each) => textOf(each)?.includes(spdx3Context));
  const major = textOf(context)?.split(spdx3Context)[1]?.split("/")[0];
  return major === undefined || !Array.isArray(document["@graph"])
    ? undefined
    : { kind: "spdx", format: `SPDX ${major}` };
}

const spdx3Context = "spdx.org/rdf/";

/** A statement, in a DSSE envelope, in a Sigstore bundle, or bare. */
function inToto(document: Json): AttachmentFormat | undefined {
  const envelope = objectOf(document["dsseEnvelope"]) ?? document;
  const payload = textOf(envelope["payload"], maxPayload);
  const isEnvelope = envelope["payloadType"] === "application/vnd.in-toto+json" && payload !== undefined;
  const statement = isEnvelope ? parseJson(Buffer.from(payload, "base64")) : document;
  if (textOf(statement["_type"])?.startsWith("https://in-toto.io/Statement/") !== true) return undefined;
  const predicate = textOf(statement["predicateType"]);
  return predicate === undefined ? undefined : { kind: "in-toto", format: predicate };
}

function objectOf(value: unknown): Json | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
}

/** A text of a line that people can read. */
function textOf(value: unknown, maxLength = 200): string | undefined {
  return typeof value === "string" && value.length <= maxLength && !/\p{C}/u.test(value) ? value : undefined;
}

const maxPayload = Number.MAX_SAFE_INTEGER;

function invalidAttachment(description: string): OtaError {
  return invalidArgument("data", `the file ${description}`, "INVALID_ATTACHMENT");
}
