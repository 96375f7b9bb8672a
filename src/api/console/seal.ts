import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";

/** Seals what a browser keeps for the service, so that it can neither read nor make nor change it: AES-256-GCM. */
export class Seal {
  readonly #key: Buffer;

  /** @param purpose what is sealed for one purpose opens for no other */
  constructor(secret: Uint8Array, purpose = "") {
    this.#key = createHash("sha256").update(purpose).update(secret).digest();
  }

  /** The sealed bytes in base64url. */
  close(...parts: readonly Uint8Array[]): string {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv(algorithm, this.#key, nonce);
    const sealed = Buffer.concat([...parts.map((part) => cipher.update(part)), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString("base64url");
  }

  /** What was sealed; undefined for what was not sealed here. */
  open(sealed: string): Buffer | undefined {
    const bytes = Buffer.from(sealed, "base64url");
    if (bytes.length <= nonceBytes + tagBytes) return undefined;
    const decipher = createDecipheriv(algorithm, this.#key, bytes.subarray(0, nonceBytes), {
      authTagLength: tagBytes,
    });
    decipher.setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
    try {
      return Buffer.concat([decipher.update(bytes.subarray(nonceBytes + tagBytes)), decipher.final()]);
    } catch {
      return undefined;
    }
  }
}

const algorithm = "aes-256-gcm";
const nonceBytes = 12;
const tagBytes = 16;
