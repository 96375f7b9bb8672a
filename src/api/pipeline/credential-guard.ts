import type { BlockList } from "node:net";
import { addressKey, isListed } from "../../call/address.ts";
import { bearerToken } from "../../call/bearer.ts";
import { type CertificateHolders, callersDiffer, certificateInvalid } from "../../call/client-certificate.ts";
import type { Identity } from "../../call/identity.ts";
import { OtaError } from "../../errors.ts";
import type { Call, CallerIdentifier } from "./call.ts";
import { type RateLimiter, rateLimited } from "./rate-limit.ts";

/** What a {@link CredentialGuard} is made of. */
export interface CredentialGuardParts {
  readonly authenticator: CallerIdentifier;
  /** Who devices are by their certificates; undefined where none count. */
  readonly certificates?: CertificateHolders<Identity> | undefined;
  readonly rateLimiter: RateLimiter;
  /** Addresses without a limit of their own: proxies, behind which everybody is. */
  readonly trustedProxies: BlockList;
}

/**
 * Says who calls, and lets an address try only so many wrong tokens. Beyond that, what this replica has not seen is refused
 * without a look-up, so that a guess costs the database nothing and tells its sender nothing. A token that is known here goes
 * on: devices behind the same address do not notice. Tokens that were revoked or have expired are no guesses.
 */
export class CredentialGuard {
  readonly #parts: CredentialGuardParts;

  constructor(parts: CredentialGuardParts) {
    this.#parts = parts;
  }

  /** Throws (or rejects with) UNAUTHENTICATED, or `RATE_LIMITED` for an address that has tried too much. */
  identify(call: Shown): Identity | Promise<Identity> {
    const { authenticator } = this.#parts;
    const beforeLookUp = () => this.#requireRoom(call.peer);
    try {
      const identity = this.#identify(
        call,
        (token) => authenticator.identify(token, beforeLookUp),
        beforeLookUp,
      );
      if (!(identity instanceof Promise)) return identity;
      return identity.catch((error: unknown) => {
        throw this.#counted(call.peer, error);
      });
    } catch (error) {
      throw this.#counted(call.peer, error);
    }
  }

  /** Says who makes a call that was let in before, as of now. It shows what it showed then, which is no guess. */
  identifyAgain(call: Shown): Identity | Promise<Identity> {
    return this.#identify(call, (token) => this.#parts.authenticator.identifyAgain(token));
  }

  /**
   * By the certificate of the connection, by the token, or by both, which must be of the same device then. A certificate that does
   * not count leaves it to the token.
   */
  #identify(
    { certificate, authorization }: Shown,
    byToken: (token: string) => Identity | Promise<Identity>,
    beforeLookUp?: () => void,
  ): Identity | Promise<Identity> {
    const { certificates } = this.#parts;
    if (certificate === undefined || certificates === undefined) return byToken(bearerToken(authorization));
    const hasToken = authorization !== undefined && authorization !== "";
    if ("refused" in certificate) {
      if (hasToken) return byToken(bearerToken(authorization));
      throw certificateInvalid(certificate.refused);
    }
    const holder = certificates.identify(certificate, beforeLookUp);
    return hasToken ? byBoth(holder, () => byToken(bearerToken(authorization))) : holder;
  }

  #requireRoom(peer: string): void {
    if (this.#isProxy(peer)) return;
    const verdict = this.#parts.rateLimiter.check("credential", addressKey(peer));
    if (!verdict.ok) throw rateLimited("credential", verdict.retryAfterMs);
  }

  /** What to answer instead of an error: the error itself, unless it was one wrong token too many. */
  #counted(peer: string, error: unknown): unknown {
    if (!isWrongToken(error) || this.#isProxy(peer)) return error;
    const verdict = this.#parts.rateLimiter.consume("credential", addressKey(peer));
    return verdict.ok ? error : rateLimited("credential", verdict.retryAfterMs);
  }

  #isProxy(peer: string): boolean {
    return isListed(peer, this.#parts.trustedProxies);
  }
}

/** What of a call says who calls. */
type Shown = Pick<Call, "authorization" | "certificate" | "peer">;

async function byBoth(
  byCertificate: Identity | Promise<Identity>,
  byToken: () => Identity | Promise<Identity>,
): Promise<Identity> {
  const holder = await byCertificate;
  const caller = await byToken();
  if (holder.kind === "device" && caller.kind === "device" && holder.deviceId === caller.deviceId)
    return caller;
  throw callersDiffer();
}

function isWrongToken(error: unknown): boolean {
  return (
    error instanceof OtaError &&
    (error.reason === "CREDENTIAL_INVALID" || error.reason === "CERTIFICATE_UNKNOWN")
  );
}
