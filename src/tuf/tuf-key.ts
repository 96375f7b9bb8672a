import { createHash, createPublicKey } from "node:crypto";
import { canonicalize } from "@tufjs/canonical-json";
import { Key } from "@tufjs/models";
import { algorithmOf } from "../manifest/signature.ts";

/**
 * A public key as TUF metadata has it, under the SHA-256 of its canonical form as its id. From PEM: Ed25519, P-256 or RSA, as for
 * firmware; `INVALID_REQUEST` for `public_key_pem` if it is another.
 */
export function tufKeyOf(key: string | Key): Key {
  const { keyType, scheme, keyVal } = typeof key === "string" ? partsOf(key) : key;
  const json = { keytype: keyType, keyval: keyVal, scheme };
  const keyID = createHash("sha256").update(canonicalize(json)).digest("hex");
  return new Key({ keyID, keyType, scheme, keyVal });
}

/**
 * The same key in PEM: whatever it is called, and however it is laid out, it is one key. `INVALID_REQUEST` if it is none that may
 * sign.
 */
export function publicKeyPemOf({ keyVal, keyType }: Key): string {
  const text = keyVal["public"] ?? "";
  if (keyType !== "ed25519" || !/^[0-9a-f]{64}$/i.test(text)) {
    algorithmOf(text);
    return text;
  }
  const jwk = { kty: "OKP", crv: "Ed25519", x: Buffer.from(text, "hex").toString("base64url") };
  return createPublicKey({ key: jwk, format: "jwk" }).export({ type: "spki", format: "pem" }).toString();
}

function partsOf(publicKeyPem: string) {
  switch (algorithmOf(publicKeyPem)) {
    case "ed25519": {
      // The last 32 bytes of its SubjectPublicKeyInfo (RFC 8410, section 4).
      const spki = createPublicKey(publicKeyPem).export({ type: "spki", format: "der" });
      const keyVal = { public: spki.subarray(-32).toString("hex") };
      return { keyType: "ed25519", scheme: "ed25519", keyVal };
    }
    case "ecdsa-p256-sha256":
      return { keyType: "ecdsa", scheme: "ecdsa-sha2-nistp256", keyVal: { public: pemOf(publicKeyPem) } };
    case "rsa-pss-sha256":
      return { keyType: "rsa", scheme: "rsassa-pss-sha256", keyVal: { public: pemOf(publicKeyPem) } };
  }
}

/** Laid out as always, so that a key has one id. */
function pemOf(publicKeyPem: string): string {
  return createPublicKey(publicKeyPem).export({ type: "spki", format: "pem" }).toString().trim();
}
