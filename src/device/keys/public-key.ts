import { createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto";
import { invalidArgument, OtaError } from "../../errors.ts";
import { keyThumbprint } from "../../manifest/signature.ts";

/** A device's own public key. */
export interface PublicKey {
  readonly key: KeyObject;
  /** SubjectPublicKeyInfo in DER, the one form in which it is kept. */
  readonly spki: Buffer;
  /** SHA-256 of its JWK (RFC 7638) in base64url. */
  readonly thumbprint: string;
  /** The `alg` of JWTs that it may have signed (RFC 7518, 8037 and 9864), and no other. */
  readonly algorithms: readonly string[];
}

/**
 * Reads a public key, Ed25519 or P-256, in PEM or as a JWK, of which nothing but the key is taken. `INVALID_REQUEST` for `public_key` if it
 * is anything else, and above all for a private key.
 */
export function readPublicKey(text: string): PublicKey {
  if (text.includes("PRIVATE KEY")) throw refused("is a private key, which must not leave the device");
  let key: KeyObject;
  try {
    key = text.trimStart().startsWith("{") ? fromJwk(text) : createPublicKey(text);
  } catch (error) {
    if (error instanceof OtaError) throw error;
    throw refused("is neither a public key in PEM nor a JWK");
  }
  return publicKeyOf(key);
}

/** A key as it was kept. */
export function storedPublicKey(spki: Buffer): PublicKey {
  return publicKeyOf(createPublicKey({ key: spki, format: "der", type: "spki" }));
}

function fromJwk(text: string): KeyObject {
  const { kty, crv, x, y, d } = JSON.parse(text) as JsonWebKey;
  if (d !== undefined) throw refused("is a private key, which must not leave the device");
  return createPublicKey({
    key: { kty, crv, x, ...(kty === "EC" ? { y } : {}) } as JsonWebKey,
    format: "jwk",
  });
}

function publicKeyOf(key: KeyObject): PublicKey {
  const algorithms = algorithmsOf(key);
  if (algorithms === undefined) throw refused("must be an Ed25519 or P-256 key");
  return {
    key,
    spki: key.export({ format: "der", type: "spki" }),
    thumbprint: keyThumbprint(key),
    algorithms,
  };
}

function algorithmsOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string[] | undefined {
  if (asymmetricKeyType === "ed25519") return ["EdDSA", "Ed25519"];
  const isP256 = asymmetricKeyType === "ec" && asymmetricKeyDetails?.namedCurve === "prime256v1";
  return isP256 ? ["ES256"] : undefined;
}

function refused(why: string): OtaError {
  return invalidArgument("public_key", why);
}
