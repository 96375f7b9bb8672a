import {
  constants,
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { invalidArgument } from "../errors.ts";

/** How a manifest may be signed. */
export type SignatureAlgorithm = "ed25519" | "ecdsa-p256-sha256" | "rsa-pss-sha256";

/** A registered key and what it signed, as stored and handed on. */
export interface ManifestSignature {
  /** See {@link thumbprint}. */
  readonly keyId: string;
  readonly signature: Uint8Array;
}

/** A fresh key pair, in PEM (PKCS #8 and SPKI), and the id under which the public key will be registered. */
export interface SigningKeyPair {
  readonly privateKeyPem: string;
  readonly publicKeyPem: string;
  readonly keyId: string;
}

/**
 * Which algorithm a public key verifies. Accepted are Ed25519, P-256 and RSA keys of 2048 to 8192 bits, in PEM
 * (`-----BEGIN PUBLIC KEY-----`); anything else, and above all a private key, is `INVALID_REQUEST` for `public_key_pem`.
 */
export function algorithmOf(publicKeyPem: string): SignatureAlgorithm {
  return keyAlgorithm(readPublicKey(publicKeyPem));
}

/** The key's id: SHA-256 thumbprint of its JWK (RFC 7638) in base64url, 43 characters. Errors as {@link algorithmOf}. */
export function thumbprint(publicKeyPem: string): string {
  return keyThumbprint(readPublicKey(publicKeyPem));
}

/** As {@link thumbprint}, of a public key that was read already. */
export function keyThumbprint(key: KeyObject): string {
  const jwk = key.export({ format: "jwk" });
  // Only the required members, in lexicographic order and without blanks (RFC 7638, section 3.2; RFC 8037 for OKP).
  const required = { crv: jwk.crv, e: jwk.e, kty: jwk.kty, n: jwk.n, x: jwk.x, y: jwk.y };
  return createHash("sha256").update(JSON.stringify(required)).digest("base64url");
}

/**
 * Whether a detached signature is right for these exact bytes under this key. Ed25519 is the pure variant (RFC 8032), as
 * `openssl pkeyutl -sign -rawin` makes it; ECDSA P-256 with SHA-256 is accepted in DER and as the raw 64 bytes r || s;
 * RSA is PSS with SHA-256 and any salt length. Each has one encoding: shortened, padded or followed by more bytes it is
 * refused. A malformed signature is wrong, not an error; for a bad key see
 * {@link algorithmOf}.
 */
export function verifySignature(options: {
  readonly publicKeyPem: string;
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
}): boolean {
  const { bytes, signature } = options;
  const key = readPublicKey(options.publicKeyPem);
  switch (keyAlgorithm(key)) {
    case "ed25519":
      return signature.length === 64 && verify(null, bytes, key, signature);
    case "ecdsa-p256-sha256": {
      const raw = signature.length === 64;
      return (
        (raw && verify("sha256", bytes, { key, dsaEncoding: "ieee-p1363" }, signature)) ||
        verify("sha256", bytes, { key, dsaEncoding: "der" }, signature)
      );
    }
    case "rsa-pss-sha256":
      // As long as the modulus (RFC 8017, section 8.1.2): OpenSSL also takes one whose leading zero bytes were cut off.
      return (
        signature.length === modulusBytes(key) &&
        verify("sha256", bytes, { key, ...pss(constants.RSA_PSS_SALTLEN_AUTO) }, signature)
      );
  }
}

/**
 * Whether a signature that verifies is one that every device can check: an RSA-PSS signature has a salt as long as its digest
 * (RFC 8017, section 9.1), because many verifiers have to be told one length; other algorithms have no salt.
 */
export function hasFixedSalt(options: {
  readonly publicKeyPem: string;
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
}): boolean {
  const key = readPublicKey(options.publicKeyPem);
  if (keyAlgorithm(key) !== "rsa-pss-sha256") return true;
  return verify(
    "sha256",
    options.bytes,
    { key, ...pss(constants.RSA_PSS_SALTLEN_DIGEST) },
    options.signature,
  );
}

/**
 * A signature that verified as devices get it, each algorithm in one encoding: ECDSA in DER, also where the signer wrote the raw
 * 64 bytes r || s. A DER sequence of 64 bytes is possible too, and stays.
 */
export function inFixedEncoding(algorithm: SignatureAlgorithm, signature: Uint8Array): Uint8Array {
  const raw = algorithm === "ecdsa-p256-sha256" && signature.length === rawEcdsaBytes && !isDer(signature);
  if (!raw) return signature;
  const half = rawEcdsaBytes / 2;
  const numbers = [derInteger(signature.subarray(0, half)), derInteger(signature.subarray(half))];
  const length = numbers.reduce((sum, number) => sum + number.length, 0);
  return Uint8Array.from([0x30, length, ...numbers.flatMap((number) => [...number])]);
}

/**
 * Signs bytes with a private key in PEM, for tools on the signer's side: the service holds no such key. The algorithm is
 * the one that {@link algorithmOf} names for its public half; ECDSA signatures are DER.
 */
export function signManifest(privateKeyPem: string, bytes: Uint8Array): Uint8Array {
  const key = readPrivateKey(privateKeyPem);
  const algorithm = keyAlgorithm(key);
  return new Uint8Array(
    algorithm === "rsa-pss-sha256"
      ? sign("sha256", bytes, { key, ...pss(constants.RSA_PSS_SALTLEN_DIGEST) })
      : sign(algorithm === "ed25519" ? null : "sha256", bytes, key),
  );
}

/** The public half of a private key, in PEM. */
export function publicKeyOf(privateKeyPem: string): string {
  const key = readPrivateKey(privateKeyPem);
  keyAlgorithm(key);
  return createPublicKey(key).export({ type: "spki", format: "pem" }).toString();
}

/** Makes an Ed25519 key pair. */
export function generateSigningKey(): SigningKeyPair {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519", {
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  return { privateKeyPem: privateKey, publicKeyPem: publicKey, keyId: thumbprint(publicKey) };
}

/** Two numbers of 32 bytes. */
const rawEcdsaBytes = 64;

/** Whether it is a sequence of two integers that fill it, as no raw signature is but by a chance of one in 2^40. */
function isDer(bytes: Uint8Array): boolean {
  const second = 4 + (bytes[3] ?? 0);
  return (
    bytes[0] === 0x30 &&
    bytes[1] === bytes.length - 2 &&
    bytes[2] === 0x02 &&
    bytes[second] === 0x02 &&
    bytes[second + 1] === bytes.length - second - 2
  );
}

/** An unsigned number as an INTEGER of DER: without leading zeros but one that keeps it from being negative. */
function derInteger(number: Uint8Array): Uint8Array {
  const first = number.findIndex((byte) => byte !== 0);
  const digits = first === -1 ? Uint8Array.of(0) : number.subarray(first);
  const sign = (digits[0] ?? 0) >= 0x80 ? [0] : [];
  return Uint8Array.from([0x02, sign.length + digits.length, ...sign, ...digits]);
}

/** Below 2048 bits RSA is no longer trusted (NIST SP 800-131A); above 8192 one verification costs milliseconds. */
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;

/** The longest PEM that is read: an RSA key of 8192 bits takes 1.5 KiB. */
const MAX_PEM_LENGTH = 16 * 1024;

function readPublicKey(pem: string): KeyObject {
  // createPublicKey also takes private keys and certificates, and silently derives the public key.
  if (pem.length > MAX_PEM_LENGTH || !/^\s*-----BEGIN PUBLIC KEY-----\r?\n/.test(pem)) {
    throw invalidArgument("public_key_pem", "must be a public key in PEM (-----BEGIN PUBLIC KEY-----)");
  }
  try {
    return createPublicKey({ key: pem, format: "pem", type: "spki" });
  } catch {
    throw invalidArgument("public_key_pem", "cannot be read as a public key");
  }
}

function readPrivateKey(pem: string): KeyObject {
  try {
    return createPrivateKey({ key: pem, format: "pem" });
  } catch {
    throw invalidArgument("private_key_pem", "cannot be read as a private key without a passphrase");
  }
}

function keyAlgorithm(key: KeyObject): SignatureAlgorithm {
  const details = key.asymmetricKeyDetails;
  const bits = details?.modulusLength ?? 0;
  if (key.asymmetricKeyType === "ed25519") return "ed25519";
  if (key.asymmetricKeyType === "ec" && details?.namedCurve === "prime256v1") return "ecdsa-p256-sha256";
  if (key.asymmetricKeyType === "rsa" && bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS)
    return "rsa-pss-sha256";
  throw invalidArgument(
    "public_key_pem",
    "must be an Ed25519 or P-256 key, or an RSA key of 3072 to 8192 bits",
  );
}

function modulusBytes(key: KeyObject): number {
  return Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
}

function pss(saltLength: number): { padding: number; saltLength: number } {
  return { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
}
