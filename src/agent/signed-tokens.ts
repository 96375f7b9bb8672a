import type { ClientError } from "../client/client-error.ts";
import type { TokenSource } from "../client/token-source.ts";
import type { Clock } from "../infra/clock.ts";
import { thumbprint } from "../manifest/signature.ts";
import type { DeviceSigner } from "./device-signer.ts";

/** What {@link SignedTokens} are made of. */
export interface SignedTokensParts {
  readonly signer: DeviceSigner;
  /** How the service calls itself in `aud`; see the setting `DEVICE_OTA_DEVICE_JWT_AUDIENCE`. */
  readonly audience: string;
  readonly clock: Clock;
}

/**
 * The JWTs (RFC 7519) that a device signs with its own key. They are made by the service's time, as soon as a refusal has told it: the
 * device's clock may be wrong, or never have been set.
 */
export class SignedTokens {
  readonly signer: DeviceSigner;
  readonly #audience: string;
  readonly #clock: Clock;
  /** Of the service's clock, beyond the device's. */
  #aheadMs = 0;

  constructor({ signer, audience, clock }: SignedTokensParts) {
    this.signer = signer;
    this.#audience = audience;
    this.#clock = clock;
  }

  /** Of the key that signs: see {@link thumbprint}. */
  get thumbprint(): string {
    return thumbprint(this.signer.publicKeyPem);
  }

  /** What stands for the device's bearer token, as the device of the moment: it may enrol again. One is sent with all calls of some minutes. */
  of(deviceId: () => string): TokenSource {
    let kept: { readonly token: string; readonly sub: string; readonly untilMs: number } | undefined;
    return {
      token: () => {
        const sub = deviceId();
        if (kept?.sub === sub && this.#clock.monotonicMs() < kept.untilMs) return kept.token;
        const untilMs = this.#clock.monotonicMs() + reuseMs;
        return this.#sign("ota-device+jwt", { sub }).then((token) => {
          kept = { token, sub, untilMs };
          return token;
        });
      },
      refused: (error) => {
        kept = undefined;
        this.learn(error);
      },
    };
  }

  /** That a key, this one or the next one, shall be the device's (`sub`); of one request alone. */
  claim(key: DeviceSigner, claims: { readonly sub: string; readonly requestId: string }): Promise<string> {
    const { sub, requestId } = claims;
    return this.#sign("ota-device-key+jwt", {
      sub,
      jti: requestId,
      cnf: { jkt: thumbprint(key.publicKeyPem) },
    });
  }

  /** Takes the service's time from a refusal that tells it. */
  learn({ reason, metadata }: Pick<ClientError, "reason" | "metadata">): void {
    const timeMs = Date.parse(metadata["server_time"] ?? "");
    if (reason === "TOKEN_TIME_WRONG" && Number.isFinite(timeMs))
      this.#aheadMs = timeMs - this.#clock.now().getTime();
  }

  async #sign(typ: string, claims: object): Promise<string> {
    const iat = Math.floor((this.#clock.now().getTime() + this.#aheadMs) / 1_000);
    const payload = { aud: this.#audience, iat, exp: iat + lifetimeSeconds, ...claims };
    const text = `${base64url({ alg: this.signer.algorithm, typ })}.${base64url(payload)}`;
    const signature = await this.signer.sign(Buffer.from(text));
    return `${text}.${Buffer.from(signature).toString("base64url")}`;
  }
}

/** Less than any service's `DEVICE_OTA_DEVICE_JWT_MAX_SECONDS`, but long enough for a slow link. */
const lifetimeSeconds = 60;

const reuseMs = 40_000;

function base64url(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
