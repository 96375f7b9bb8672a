import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { AgentFailure } from "./agent-failure.ts";

/** A device's own key, with which it alone can sign: in a file, a TPM or a secure element. */
export interface DeviceSigner {
  /** The public half in PEM (SubjectPublicKeyInfo). */
  readonly publicKeyPem: string;
  /** Ed25519, or ECDSA on P-256 with SHA-256. */
  readonly algorithm: "EdDSA" | "ES256";
  /** Signs as JWS has it (RFC 7518, section 3.4, and RFC 8037): 64 bytes, which are r || s for ES256. Called anew every few minutes. */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

/**
 * The key in a PEM file (PKCS #8). With `make` it makes an Ed25519 key that its owner alone can read if there is no such file. Throws
 * {@link AgentFailure} `INVALID_KEY`.
 */
export async function keyFileSigner(path: string, { make }: { make: boolean }): Promise<DeviceSigner> {
  const key = (make ? await makeKey(path) : undefined) ?? (await readKey(path));
  const isEd25519 = key.asymmetricKeyType === "ed25519";
  if (!isEd25519 && key.asymmetricKeyDetails?.namedCurve !== "prime256v1")
    throw new AgentFailure("INVALID_KEY", `${path} is neither an Ed25519 nor a P-256 key`);
  return {
    publicKeyPem: createPublicKey(key).export({ format: "pem", type: "spki" }).toString(),
    algorithm: isEd25519 ? "EdDSA" : "ES256",
    sign: async (bytes) =>
      isEd25519 ? sign(null, bytes, key) : sign("sha256", bytes, { key, dsaEncoding: "ieee-p1363" }),
  };
}

/** Undefined if there is such a file. */
async function makeKey(path: string): Promise<KeyObject | undefined> {
  const { privateKey } = generateKeyPairSync("ed25519");
  const pem = privateKey.export({ format: "pem", type: "pkcs8" });
  try {
    // Flushed, because the service may know the public half before the next loss of power.
    await writeFile(path, pem, { mode: 0o600, flag: "wx", flush: true });
    return privateKey;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return undefined;
    throw error;
  }
}

async function readKey(path: string): Promise<KeyObject> {
  try {
    return createPrivateKey(await readFile(path));
  } catch (error) {
    throw new AgentFailure("INVALID_KEY", `${path} holds no private key in PEM`, error);
  }
}
