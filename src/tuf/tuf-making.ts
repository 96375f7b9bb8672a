import { createHash } from "node:crypto";
import { Metadata, MetadataKind, MetaFile, Snapshot, TargetFile, Targets, Timestamp } from "@tufjs/models";
import { tufKeyOf } from "./tuf-key.ts";
import { bytesOf, tufTime, withSignature } from "./tuf-metadata.ts";

/** Who signs a role: public keys in PEM, and how many of them must. */
interface TufSigners {
  readonly publicKeyPems: readonly string[];
  readonly threshold: number;
}

/** What root metadata says. */
export interface RootContent {
  readonly version: number;
  readonly expiresAt: Date;
  readonly root: TufSigners;
  readonly targets: TufSigners;
  /** The service's own key, for snapshot and timestamp. */
  readonly online: TufSigners;
}

/** Root metadata without signatures. */
export function makeRoot({ version, expiresAt, root, targets, online }: RootContent): Uint8Array {
  const signers = { root, targets, snapshot: online, timestamp: online };
  const keys = Object.values(signers).flatMap(({ publicKeyPems }) => publicKeyPems.map(tufKeyOf));
  const roles = Object.entries(signers).map(([role, { publicKeyPems, threshold }]) => {
    const keyids = publicKeyPems.map((pem) => tufKeyOf(pem).keyID);
    return [role, { keyids, threshold }];
  });
  const signed = {
    _type: "root",
    spec_version: specVersion,
    version,
    expires: tufTime(expiresAt),
    consistent_snapshot: true,
    keys: Object.fromEntries(keys.map((key) => [key.keyID, key.toJSON()])),
    roles: Object.fromEntries(roles),
  };
  return bytesOf(Metadata.fromJSON(MetadataKind.Root, { signed, signatures: [] }));
}

/** A firmware as targets metadata names it. */
export interface TufTarget {
  /** By which it is found: the firmware's version. */
  readonly path: string;
  readonly sizeBytes: number;
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  /** What our agent and people read of it. */
  readonly custom: TufTargetCustom;
}

/** What stands in `custom` of a target: whose firmware it is, and the digest of the manifest that devices are offered with it. */
interface TufTargetCustom {
  readonly product: string;
  readonly component: string;
  readonly version: string;
  /** SHA-256 in lower-case hexadecimal; empty for firmware that nobody signed. */
  readonly manifest_sha256: string;
}

/** Targets metadata without signatures. */
export function makeTargets(version: number, expiresAt: Date, targets: readonly TufTarget[]): Uint8Array {
  const signed = new Targets({ version, expires: tufTime(expiresAt), specVersion });
  for (const { path, sizeBytes, sha256, custom } of targets) {
    const unrecognizedFields = { custom: { ...custom } };
    signed.addTarget(new TargetFile({ path, length: sizeBytes, hashes: { sha256 }, unrecognizedFields }));
  }
  return bytesOf(new Metadata(signed));
}

/** Other metadata as snapshot or timestamp metadata bind it. */
export interface BoundMetadata {
  readonly version: number;
  readonly bytes: Uint8Array;
}

/** Signed snapshot metadata, which binds targets metadata. */
export function makeSnapshot(
  { version, expiresAt, keys }: OnlineContent,
  targets: BoundMetadata,
): Uint8Array {
  const meta = { "targets.json": boundFile(targets) };
  return signedBy(
    keys,
    new Metadata(new Snapshot({ version, expires: tufTime(expiresAt), specVersion, meta })),
  );
}

/** Signed timestamp metadata, which binds snapshot metadata. */
export function makeTimestamp(
  { version, expiresAt, keys }: OnlineContent,
  snapshot: BoundMetadata,
): Uint8Array {
  const snapshotMeta = boundFile(snapshot);
  return signedBy(
    keys,
    new Metadata(new Timestamp({ version, expires: tufTime(expiresAt), specVersion, snapshotMeta })),
  );
}

/** What metadata that the service signs has in common. */
export interface OnlineContent {
  readonly version: number;
  readonly expiresAt: Date;
  /** Private keys in PEM. */
  readonly keys: readonly string[];
}

/** The version of the specification that the metadata follows. */
const specVersion = "1.0.31";

function boundFile({ version, bytes }: BoundMetadata): MetaFile {
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return new MetaFile({ version, length: bytes.length, hashes: { sha256 } });
}

function signedBy(keys: readonly string[], metadata: Metadata<Snapshot> | Metadata<Timestamp>): Uint8Array {
  let bytes = bytesOf(metadata);
  for (const key of keys) bytes = withSignature(metadata, key);
  return bytes;
}
