import { createHash, generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import { SignJWT } from "jose";

/** A device's key as somebody else's client would use it: by the library, and by nothing of ours. */
export class TestDeviceKey {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly #algorithm: string;

  constructor(kind: "ed25519" | "p256") {
    const pair =
      kind === "ed25519"
        ? generateKeyPairSync("ed25519")
        : generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    this.privateKey = pair.privateKey;
    this.publicKey = pair.publicKey;
    this.#algorithm = kind === "ed25519" ? "EdDSA" : "ES256";
  }

  get pem(): string {
    return this.publicKey.export({ format: "pem", type: "spki" }).toString();
  }

  get jwk(): string {
    return JSON.stringify(this.publicKey.export({ format: "jwk" }));
  }

  get thumbprint(): string {
    const { crv, kty, x, y } = this.publicKey.export({ format: "jwk" });
    return createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");
  }

  /** What a device sends as its bearer token; `claims` and `header` may be anybody's. */
  token(
    sub: string,
    claims: Record<string, unknown> = {},
    header: Record<string, unknown> = {},
  ): Promise<string> {
    const now = Math.floor(Date.now() / 1_000);
    const payload = { sub, aud: "device-ota", iat: now, exp: now + 300, jti: randomUUID(), ...claims };
    return new SignJWT(payload)
      .setProtectedHeader({ alg: this.#algorithm, typ: "ota-device+jwt", ...header })
      .sign(this.privateKey, { crit: { own: true } });
  }

  /** That `key` shall be the device's: its proof if it is this one, and this one's consent else. */
  claim(
    key: TestDeviceKey,
    { sub, requestId, ...claims }: { sub: string; requestId: string; [claim: string]: unknown },
    header: Record<string, unknown> = {},
  ): Promise<string> {
    const cnf = { jkt: key.thumbprint };
    return this.token(sub, { jti: requestId, cnf, ...claims }, { typ: "ota-device-key+jwt", ...header });
  }
}
