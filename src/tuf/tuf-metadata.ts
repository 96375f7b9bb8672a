import { canonicalize } from "@tufjs/canonical-json";
import {
  type Key,
  Metadata,
  MetadataKind,
  type Root,
  Signature,
  type Snapshot,
  type Targets,
  type Timestamp,
} from "@tufjs/models";
import { OtaError } from "../errors.ts";
import { publicKeyOf, signManifest, thumbprint } from "../manifest/signature.ts";
import { publicKeyPemOf, tufKeyOf } from "./tuf-key.ts";

/** The four roles of The Update Framework (TUF specification 1.0, section 2.1). There are no delegations. */
export type TufRole = "root" | "targets" | "snapshot" | "timestamp";

/** Metadata of one role as it was read. What is stored and served are the bytes. */
export interface TufMetadata<S extends TufSigned = TufSigned> {
  readonly role: TufRole;
  readonly bytes: Uint8Array;
  readonly metadata: Metadata<S>;
  readonly version: number;
  readonly expiresAt: Date;
}

type TufSigned = Root | Snapshot | Targets | Timestamp;

/** What somebody read of root metadata. */
export type RootMetadata = TufMetadata<Root>;

/** What somebody read of targets metadata. */
export type TargetsMetadata = TufMetadata<Targets>;

/**
 * Reads root metadata and checks what makes it safe to follow, beside its signatures: consistent snapshots, each role with as many
 * different keys as its threshold asks for, and each key under the SHA-256 of its canonical form, so that no key counts twice.
 * `TUF_METADATA_INVALID` if it is not so.
 */
export function readRoot(bytes: Uint8Array): RootMetadata {
  const root = read<Root>("root", MetadataKind.Root, bytes);
  checkRoot(root.metadata.signed);
  return root;
}

/** Reads targets metadata. `TUF_METADATA_INVALID` if it cannot be read, or delegates. */
export function readTargets(bytes: Uint8Array): TargetsMetadata {
  const targets = read<Targets>("targets", MetadataKind.Targets, bytes);
  if (targets.metadata.signed.delegations !== undefined) throw invalid("targets", "must not delegate");
  return targets;
}

/** Reads snapshot or timestamp metadata. Errors as {@link readTargets}. */
export function readOnline(role: "snapshot" | "timestamp", bytes: Uint8Array): TufMetadata {
  return read(role, role === "snapshot" ? MetadataKind.Snapshot : MetadataKind.Timestamp, bytes);
}

/** Reads root or targets metadata, whichever it is. */
export function readOffline(bytes: Uint8Array): RootMetadata | TargetsMetadata {
  const { signed } = jsonOf("root", bytes) as { signed?: { _type?: unknown } };
  return signed?._type === "root" ? readRoot(bytes) : readTargets(bytes);
}

/** How many keys of a role in this root have signed: each counts once. */
export function signatureCount(root: RootMetadata, { role, metadata }: TufMetadata): number {
  const { keys, roles } = root.metadata.signed;
  const signed = new Set<string>();
  for (const id of roles[role]?.keyIDs ?? []) {
    try {
      keys[id]?.verifySignature(metadata);
      if (keys[id] !== undefined) signed.add(id);
    } catch {
      // Not signed by this key, or wrongly.
    }
  }
  return signed.size;
}

/** How many keys of a role must sign by this root. */
export function thresholdOf(root: RootMetadata, role: TufRole): number {
  return root.metadata.signed.roles[role]?.threshold ?? Number.POSITIVE_INFINITY;
}

/** Checks that enough keys of the role have signed by this root: `TUF_SIGNATURES_MISSING` if not. */
export function assertSigned(root: RootMetadata, metadata: TufMetadata): void {
  const [count, threshold] = [signatureCount(root, metadata), thresholdOf(root, metadata.role)];
  if (count >= threshold) return;
  throw new OtaError(
    "failed_precondition",
    "TUF_SIGNATURES_MISSING",
    `${metadata.role} ${metadata.version} has ${count} valid signatures of the ${metadata.role} keys in root ${root.version}, ${threshold} are needed`,
    {
      metadata: {
        role: metadata.role,
        root_version: String(root.version),
        signatures: String(count),
        threshold: String(threshold),
      },
    },
  );
}

/** Metadata as bytes, with another signature by this private key (PEM); one that the key made before is replaced. */
export function withSignature(metadata: Metadata<TufSigned>, privateKeyPem: string): Uint8Array {
  const { keyID } = tufKeyOf(publicKeyOf(privateKeyPem));
  metadata.sign((bytes) => {
    const signature = Buffer.from(signManifest(privateKeyPem, bytes)).toString("hex");
    return new Signature({ keyID, sig: signature });
  });
  return bytesOf(metadata);
}

/** Metadata as bytes, with the signatures that it has. */
export function bytesOf(metadata: Metadata<TufSigned>): Uint8Array {
  return Buffer.from(`${JSON.stringify(metadata.toJSON(), undefined, 1)}\n`);
}

/** A time as metadata has it: whole seconds, in UTC. */
export function tufTime(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

/** The most bytes of root or targets metadata: less than a stock client takes. */
const maxTufBytes = 500_000;

/** The most firmwares that targets metadata may name: a stock client takes a time that grows by their square. */
export const maxTufTargets = 2_000;

const maxKeys = 64;

/** As the specification has it; what is read more loosely might never expire for somebody. */
const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

function read<S extends TufSigned>(role: TufRole, kind: MetadataKind, bytes: Uint8Array): TufMetadata<S> {
  const json = jsonOf(role, bytes);
  checkSizes(role, json);
  let metadata: Metadata<S>;
  try {
    metadata = Metadata.fromJSON(kind as never, json as never) as Metadata<S>;
    canonicalize(metadata.signed.toJSON());
  } catch (error) {
    throw invalid(role, `is no ${role} metadata: ${error instanceof Error ? error.message : String(error)}`);
  }
  const { version, expires } = metadata.signed;
  if (!Number.isInteger(version) || version < 1 || version > maxVersion)
    throw invalid(role, `must have a version of 1 to ${maxVersion}`);
  const expiresAt = new Date(expires);
  if (!timePattern.test(expires) || Number.isNaN(expiresAt.getTime()))
    throw invalid(role, "must expire at a time such as 2030-12-31T00:00:00Z");
  return { role, bytes, metadata, version, expiresAt };
}

const maxVersion = 2 ** 31 - 1;

function jsonOf(role: TufRole, bytes: Uint8Array): object {
  if (bytes.length > maxTufBytes) throw invalid(role, `must not be larger than ${maxTufBytes} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw invalid(role, "is no JSON");
  }
  if (typeof json !== "object" || json === null) throw invalid(role, "is no JSON object");
  return json;
}

/** Before anything that takes longer the more there are. */
function checkSizes(role: TufRole, json: object): void {
  const { signed, signatures } = json as { signed?: Record<string, unknown>; signatures?: unknown };
  const sizes: [what: string, value: unknown, most: number][] = [
    ["signatures", signatures, maxKeys],
    ["keys", signed?.["keys"], maxKeys],
    ["roles", signed?.["roles"], 4],
    ["targets", signed?.["targets"], maxTufTargets],
    ["meta", signed?.["meta"], 1],
  ];
  for (const [what, value, most] of sizes) {
    if (typeof value === "object" && value !== null && Object.keys(value).length > most)
      throw invalid(role, `must not have more than ${most} ${what}`);
  }
}

function checkRoot({ consistentSnapshot, keys, roles }: Root): void {
  if (!consistentSnapshot) throw invalid("root", "must have consistent_snapshot");
  const distinct = new Set<string>();
  for (const [id, key] of Object.entries(keys)) {
    if (tufKeyOf(key).keyID !== id) throw invalid("root", `the key ${id} must have its SHA-256 as its id`);
    distinct.add(keyThumbprint(id, key));
  }
  if (distinct.size < Object.keys(keys).length) throw invalid("root", "must not name a key twice");
  for (const [name, { keyIDs, threshold }] of Object.entries(roles)) {
    const known = new Set(keyIDs.filter((id) => Object.hasOwn(keys, id)));
    if (known.size !== keyIDs.length) throw invalid("root", `${name} must name each of its keys once`);
    if (!Number.isInteger(threshold) || threshold < 1 || threshold > known.size)
      throw invalid("root", `${name} needs a threshold of 1 to ${known.size}, the number of its keys`);
  }
}

function keyThumbprint(id: string, key: Key): string {
  try {
    return thumbprint(publicKeyPemOf(key));
  } catch {
    throw invalid("root", `the key ${id} must be Ed25519, P-256 or RSA, in hexadecimal digits or PEM`);
  }
}

/** Metadata that cannot be taken as it is, and why. */
export function invalid(role: TufRole, description: string): OtaError {
  return new OtaError("invalid_argument", "TUF_METADATA_INVALID", `${role} metadata: ${description}`, {
    fields: [{ field: role, description }],
    metadata: { role },
  });
}
