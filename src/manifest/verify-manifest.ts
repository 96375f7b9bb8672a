import { OtaError } from "../errors.ts";
import { type Manifest, maxManifestBytes, parseManifest } from "./manifest.ts";
import { type KeyRole, missingSignatures, type RequiredSignatures } from "./required-signatures.ts";
import { type ManifestSignature, thumbprint, verifySignature } from "./signature.ts";

/** A key whose signature counts for whoever lists it. */
export interface TrustedKey {
  /** In PEM. */
  readonly publicKeyPem: string;
  readonly role: KeyRole;
}

/** A manifest with its signatures, and whom to trust. */
export interface ManifestToVerify {
  /** The exact bytes as they came. */
  readonly manifest: Uint8Array;
  readonly signatures: readonly ManifestSignature[];
  /** Trusted keys by key id. */
  readonly trustedKeys: ReadonlyMap<string, TrustedKey>;
  /** How many different ones of them must have signed. */
  readonly required: RequiredSignatures;
  /** The time by which an expired manifest is refused; without a trustworthy clock leave it out. */
  readonly now?: Date | undefined;
}

/**
 * Verifies, and only then reads, a manifest: for whoever installs or releases firmware. Every trusted key has one vote,
 * also if it is listed under two ids, with two roles, or signed twice; signatures of other keys and wrong ones do not count, so that a
 * fleet can move from one key to the next. Fewer votes than are required are `SIGNATURE_INVALID`, an expired manifest is
 * `FIRMWARE_EXPIRED`, and a signed one that cannot be read is `INVALID_MANIFEST`.
 */
export function verifyManifest(options: ManifestToVerify): Manifest {
  const { manifest: bytes, required, now } = options;
  if (bytes.length > maxManifestBytes) {
    throw new OtaError(
      "invalid_argument",
      "INVALID_MANIFEST",
      `manifest: is larger than ${maxManifestBytes} bytes`,
    );
  }
  const votes = collectVotes(options);
  const missing = missingSignatures(votes, required);
  if (missing !== undefined) {
    throw new OtaError(
      "invalid_argument",
      "SIGNATURE_INVALID",
      `the manifest has of trusted keys: ${missing}`,
      {
        metadata: { valid_signatures: String(votes.length), threshold: String(required.total) },
      },
    );
  }
  const manifest = parseManifest(bytes);
  if (now !== undefined && manifest.expires !== undefined && manifest.expires <= now) {
    throw new OtaError(
      "failed_precondition",
      "FIRMWARE_EXPIRED",
      `the manifest expired at ${manifest.expires.toISOString()}`,
      { metadata: { expired_at: manifest.expires.toISOString() } },
    );
  }
  return manifest;
}

/** More signatures than this are not looked at, so that a hostile answer cannot keep a device busy. */
const MAX_SIGNATURES = 32;

function collectVotes({ manifest, signatures, trustedKeys }: ManifestToVerify): readonly KeyRole[] {
  const voters = new Map<string, KeyRole>();
  for (const { keyId, signature } of signatures.slice(0, MAX_SIGNATURES)) {
    const key = trustedKeys.get(keyId);
    if (key === undefined) continue;
    const { publicKeyPem, role } = key;
    const voter = thumbprint(publicKeyPem);
    if (voters.has(voter)) continue;
    if (verifySignature({ publicKeyPem, bytes: manifest, signature })) voters.set(voter, role);
  }
  return [...voters.values()];
}
