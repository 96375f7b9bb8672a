import { OtaError } from "../errors.ts";
import { type Manifest, maxManifestBytes, parseManifest } from "./manifest.ts";
import { type ManifestSignature, thumbprint, verifySignature } from "./signature.ts";

/** A manifest with its signatures, and whom to trust. */
export interface ManifestToVerify {
  /** The exact bytes as they came. */
  readonly manifest: Uint8Array;
  readonly signatures: readonly ManifestSignature[];
  /** Trusted public keys in PEM by key id. */
  readonly trustedKeys: ReadonlyMap<string, string>;
  /** How many different trusted keys must have signed: at least 1. */
  readonly threshold: number;
  /** The time by which an expired manifest is refused; without a trustworthy clock leave it out. */
  readonly now?: Date | undefined;
}

/**
 * Verifies, and only then reads, a manifest: for whoever installs or releases firmware. Every trusted key has one vote,
 * also if it is listed under two ids or signed twice; signatures of other keys and wrong ones do not count, so that a
 * fleet can move from one key to the next. Fewer votes than the threshold are `SIGNATURE_INVALID`, an expired manifest is
 * `FIRMWARE_EXPIRED`, and a signed one that cannot be read is `INVALID_MANIFEST`.
 */
export function verifyManifest(options: ManifestToVerify): Manifest {
  const { manifest: bytes, threshold, now } = options;
  if (bytes.length > maxManifestBytes) {
    throw new OtaError(
      "invalid_argument",
      "INVALID_MANIFEST",
      `manifest: is larger than ${maxManifestBytes} bytes`,
    );
  }
  const votes = countVotes(options);
  // Written so that a threshold of 0 or NaN refuses everything.
  if (!(threshold >= 1 && votes >= threshold)) {
    throw new OtaError(
      "invalid_argument",
      "SIGNATURE_INVALID",
      `the manifest has ${votes} valid signatures of trusted keys, ${threshold} are needed`,
      { metadata: { valid_signatures: String(votes), threshold: String(threshold) } },
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

function countVotes({ manifest, signatures, trustedKeys }: ManifestToVerify): number {
  const voters = new Set<string>();
  for (const { keyId, signature } of signatures.slice(0, MAX_SIGNATURES)) {
    const publicKeyPem = trustedKeys.get(keyId);
    if (publicKeyPem === undefined) continue;
    if (verifySignature({ publicKeyPem, bytes: manifest, signature })) voters.add(thumbprint(publicKeyPem));
  }
  return voters.size;
}
