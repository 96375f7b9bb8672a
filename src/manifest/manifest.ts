import valid from "semver/functions/valid.js";
import { targetNameFault } from "../device-names.ts";
import { OtaError } from "../errors.ts";
import { type AttachmentDigest, attachmentKinds, maxAttachments } from "./attachment.ts";

/**
 * What a firmware signature covers. The bytes that `createManifest` makes, or any other bytes that `parseManifest`
 * reads, are signed, stored and handed on verbatim; nobody ever serialises a manifest again to check a signature.
 */
export interface Manifest {
  readonly product: string;
  /** A canonical semantic version, see {@link isCanonicalVersion}. */
  readonly version: string;
  /** The application that it updates, by its component's name; `undefined` or empty for the device's firmware. */
  readonly component?: string | undefined;
  /** Never falls on a device (anti-rollback): 0 to 2^31 - 1. */
  readonly securityCounter: number;
  readonly securityFix: boolean;
  /** SHA-256 of the content, 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  /** Size of the content in bytes, at least 1. */
  readonly sizeBytes: number;
  /** The device types that it is for, at least one. */
  readonly deviceTypes: readonly string[];
  /** The hardware models that it runs on; empty means every model. */
  readonly hardwareModels: readonly string[];
  /** The oldest version from which it may be installed; empty means any. */
  readonly minCurrentVersion: string;
  /**
   * The newest version that it may replace although that one is newer; `undefined` or empty means that no device goes back to
   * it that has not run it before.
   */
  readonly downgradeFrom?: string | undefined;
  /** The files beside it; `undefined` or empty for none. Devices pay no heed to them. */
  readonly attachments?: readonly AttachmentDigest[] | undefined;
  readonly created: Date;
  /** After this time it must no longer be offered or installed; `undefined` means never. */
  readonly expires: Date | undefined;
}

/**
 * First member of every manifest: a signature made for anything else can never pass as one over a firmware, and a later
 * format gets another tag.
 */
const manifestType = "ota.v1.firmware-manifest";

/** Larger input is refused before a byte of it is hashed or read; 200 names of 128 letters take 26 KiB. */
export const maxManifestBytes = 64 * 1024;

/**
 * Writes a manifest: UTF-8 JSON, one member a line, always in the same order, so that the same fields give the same
 * bytes and people can read what they sign. `INVALID_MANIFEST` if the fields are not what `parseManifest` accepts.
 */
export function createManifest(fields: Manifest): Uint8Array {
  const { component, downgradeFrom, attachments = [] } = fields;
  const members: Record<MemberName, unknown> & Partial<Record<OptionalMember, unknown>> = {
    type: manifestType,
    product: fields.product,
    version: fields.version,
    ...(component === undefined || component === "" ? {} : { kind: applicationKind, component }),
    security_counter: fields.securityCounter,
    security_fix: fields.securityFix,
    sha256: fields.sha256,
    size_bytes: fields.sizeBytes,
    device_types: fields.deviceTypes,
    hardware_models: fields.hardwareModels,
    min_current_version: fields.minCurrentVersion,
    ...(downgradeFrom === undefined || downgradeFrom === "" ? {} : { downgrade_from: downgradeFrom }),
    ...(attachments.length === 0 ? {} : { [attachmentsMember]: attachments.map(writtenAttachment) }),
    created: timeText("created", fields.created),
    expires: fields.expires === undefined ? null : timeText("expires", fields.expires),
  };
  const lines = Object.entries(members).map(
    ([name, value]) => `  ${JSON.stringify(name)}: ${valueText(value)}`,
  );
  const bytes = new TextEncoder().encode(`{\n${lines.join(",\n")}\n}\n`);
  parseManifest(bytes);
  return bytes;
}

/**
 * Reads a manifest whose signature has been verified. Strict, so that no two readers can understand the same bytes
 * differently: an unknown type tag, a missing, unknown or repeated member, an escape sequence, a wrong type or a value
 * outside its limits is `INVALID_MANIFEST`, with the member in the metadata `field`. A member that this version does
 * not know may be a restriction that it would overlook. `kind` and `component` are there for applications only, and
 * together: a reader that knows firmware alone refuses them, as it must. `downgrade_from` is there where it says something.
 *
 * Members whose name begins with `info_` say something about the firmware and restrict nobody: a reader that does not know one
 * passes over it. `info_attachments` is such a one.
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  if (bytes.length > maxManifestBytes) {
    throw invalidManifest("manifest", `is larger than ${maxManifestBytes} bytes`);
  }
  const text = decode(bytes);
  const members = parseObject(text);
  if (members["type"] !== manifestType) throw invalidManifest("type", `must be "${manifestType}"`);
  for (const name of memberNames) {
    if (!Object.hasOwn(members, name)) throw invalidManifest(name, "is missing");
  }
  const known: readonly string[] = [...memberNames, ...applicationMembers, downgradeMember];
  const unknown = Object.keys(members).find((name) => !known.includes(name) && !isInformation.test(name));
  if (unknown !== undefined) throw invalidManifest(unknown.slice(0, 64), "is not a member of this format");
  const manifest: Manifest = {
    product: nameOf("product", members["product"]),
    version: versionOf("version", members["version"]),
    component: componentOf(members),
    securityCounter: integerOf("security_counter", members["security_counter"], 0, 2 ** 31 - 1),
    securityFix: booleanOf("security_fix", members["security_fix"]),
    sha256: digestOf("sha256", members["sha256"]),
    sizeBytes: integerOf("size_bytes", members["size_bytes"], 1, Number.MAX_SAFE_INTEGER),
    deviceTypes: namesOf("device_types", members["device_types"], 1),
    hardwareModels: namesOf("hardware_models", members["hardware_models"], 0),
    minCurrentVersion:
      members["min_current_version"] === ""
        ? ""
        : versionOf("min_current_version", members["min_current_version"]),
    downgradeFrom: Object.hasOwn(members, downgradeMember)
      ? versionOf(downgradeMember, members[downgradeMember])
      : undefined,
    attachments: Object.hasOwn(members, attachmentsMember)
      ? attachmentsOf(members[attachmentsMember])
      : undefined,
    created: timeOf("created", members["created"]),
    expires: members["expires"] === null ? undefined : timeOf("expires", members["expires"]),
  };
  refuseRepeatedMembers(text, members);
  return manifest;
}

/**
 * Whether a text is a semantic version (https://semver.org) in its one canonical form: no leading `v` or `=`, no blanks,
 * no leading zeros, at most 128 characters. Pre-releases are allowed. Build metadata (`+…`) is not: it has no place in
 * the order of versions, so that two builds of one version could be neither told apart nor ordered.
 */
export function isCanonicalVersion(version: string): boolean {
  return version.length <= MAX_VERSION_LENGTH && valid(version) === version;
}

const MAX_VERSION_LENGTH = 128;
const MAX_NAMES = 100;

const memberNames = [
  "type",
  "product",
  "version",
  "security_counter",
  "security_fix",
  "sha256",
  "size_bytes",
  "device_types",
  "hardware_models",
  "min_current_version",
  "created",
  "expires",
] as const;
type MemberName = (typeof memberNames)[number];

const applicationMembers = ["kind", "component"] as const;
const downgradeMember = "downgrade_from";
const attachmentsMember = "info_attachments";
type OptionalMember = (typeof applicationMembers)[number] | typeof downgradeMember | typeof attachmentsMember;

/** Names of members that restrict nothing. */
const isInformation = /^info_[a-z0-9_]{1,58}$/;

/** The only value of `kind`: without it the manifest is one of firmware. */
const applicationKind = "application";

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw invalidManifest("manifest", "is not UTF-8");
  }
}

function parseObject(text: string): Record<string, unknown> {
  // No legal value needs an escape; without them a member's name has one spelling only.
  if (text.includes("\\")) throw invalidManifest("manifest", "must not contain escape sequences");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalidManifest("manifest", "is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalidManifest("manifest", "is not a JSON object");
  }
  return value as Record<string, unknown>;
}

/**
 * `JSON.parse` keeps the last of repeated members where another reader keeps the first. Without escape sequences no text holds a
 * quotation mark, so a repeated member, at any depth, shows in their number.
 */
function refuseRepeatedMembers(text: string, members: Record<string, unknown>): void {
  const quotes = text.split('"').length - 1;
  if (quotes !== 2 * countTexts(members)) throw invalidManifest("manifest", "has a member twice");
}

/** Texts and names of members in a value. Its depth is bounded by what `JSON.parse` read of {@link maxManifestBytes}. */
function countTexts(value: unknown): number {
  const open: unknown[] = [value];
  let count = 0;
  for (let each = open.pop(); open.length > 0 || each !== undefined; each = open.pop()) {
    if (typeof each === "string") count += 1;
    else if (typeof each === "object" && each !== null) {
      if (!Array.isArray(each)) count += Object.keys(each).length;
      open.push(...Object.values(each));
    }
  }
  return count;
}

function writtenAttachment({ kind, sha256, sizeBytes }: AttachmentDigest): object {
  return { kind, sha256, size_bytes: sizeBytes };
}

function attachmentsOf(value: unknown): AttachmentDigest[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > maxAttachments) {
    throw invalidManifest(attachmentsMember, `must be a list of 1 to ${maxAttachments} files`);
  }
  return value.map((each: unknown) => {
    const { kind, sha256, size_bytes, ...others } = (each ?? {}) as Record<string, unknown>;
    const known = attachmentKinds.find((one) => one === kind);
    if (known === undefined || Object.keys(others).length > 0) {
      throw invalidManifest(
        attachmentsMember,
        `must have a kind (${attachmentKinds.join(", ")}), sha256 and size_bytes of each file, and no more`,
      );
    }
    return {
      kind: known,
      sha256: digestOf(attachmentsMember, sha256),
      sizeBytes: integerOf(attachmentsMember, size_bytes, 1, Number.MAX_SAFE_INTEGER),
    };
  });
}

function componentOf(members: Record<string, unknown>): string | undefined {
  if (!applicationMembers.some((name) => Object.hasOwn(members, name))) return undefined;
  if (members["kind"] !== applicationKind) throw invalidManifest("kind", `must be "${applicationKind}"`);
  return nameOf("component", members["component"]);
}

function nameOf(field: string, value: unknown): string {
  if (typeof value !== "string" || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value)) {
    throw invalidManifest(field, "must be 1 to 64 letters, digits, '.', '_' or '-'");
  }
  return value;
}

function targetOf(field: string, value: unknown): string {
  const fault = typeof value === "string" ? targetNameFault(value) : "must be a text";
  if (typeof value !== "string" || fault !== undefined) throw invalidManifest(field, fault ?? "");
  return value;
}

function namesOf(field: string, value: unknown, min: number): string[] {
  if (!Array.isArray(value) || value.length < min || value.length > MAX_NAMES) {
    throw invalidManifest(field, `must be a list of ${min} to ${MAX_NAMES} names`);
  }
  const names = value.map((name) => targetOf(field, name));
  if (new Set(names).size !== names.length) throw invalidManifest(field, "has a name twice");
  return names;
}

function versionOf(field: string, value: unknown): string {
  if (typeof value !== "string" || !isCanonicalVersion(value)) {
    throw invalidManifest(field, "must be a semantic version without build metadata");
  }
  return value;
}

function digestOf(field: string, value: unknown): string {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/.test(value)) {
    throw invalidManifest(field, "must be 64 lower-case hexadecimal digits");
  }
  return value;
}

function integerOf(field: string, value: unknown, min: number, max: number): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min || value > max) {
    throw invalidManifest(field, `must be a whole number from ${min} to ${max}`);
  }
  return value;
}

function booleanOf(field: string, value: unknown): boolean {
  if (typeof value !== "boolean") throw invalidManifest(field, "must be true or false");
  return value;
}

function timeOf(field: string, value: unknown): Date {
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/.test(value)) {
    const time = new Date(value);
    // Date reads the 31st of February as a day in March.
    if (!Number.isNaN(time.getTime()) && time.toISOString().slice(0, 19) === value.slice(0, 19)) return time;
  }
  throw invalidManifest(field, "must be a time in UTC (RFC 3339), for example 2026-01-31T12:00:00Z");
}

function timeText(field: string, time: Date): string {
  if (Number.isNaN(time.getTime())) throw invalidManifest(field, "must be a time");
  return time.toISOString();
}

function valueText(value: unknown): string {
  return Array.isArray(value)
    ? `[${value.map((entry) => JSON.stringify(entry)).join(", ")}]`
    : JSON.stringify(value);
}

function invalidManifest(field: string, description: string): OtaError {
  return new OtaError("invalid_argument", "INVALID_MANIFEST", `manifest: ${field} ${description}`, {
    fields: [{ field: "manifest", description: `${field} ${description}` }],
    metadata: { field },
  });
}
