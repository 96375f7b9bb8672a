import type { BlockList } from "node:net";
import { addressKey, isListed } from "../../call/address.ts";
import { bearerToken } from "../../call/bearer.ts";
import type { Identity } from "../../call/identity.ts";
import { OtaError } from "../../errors.ts";
import type { Call, CallerIdentifier } from "./call.ts";
import { type RateLimiter, rateLimited } from "./rate-limit.ts";

/** What a {@link CredentialGuard} is made of. */
export interface CredentialGuardParts {
  readonly authenticator: CallerIdentifier;
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
  identify(call: Pick<Call, "authorization" | "peer">): Identity | Promise<Identity> {
    try {
      const token = bearerToken(call.authorization);
      const identity = this.#parts.authenticator.identify(token, () => this.#requireRoom(call.peer));
      if (!(identity instanceof Promise)) return identity;
      return identity.catch((error: unknown) => {
        throw this.#counted(call.peer, error);
      });
    } catch (error) {
      throw this.#counted(call.peer, error);
    }
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

function isWrongToken(error: unknown): boolean {
  return error instanceof OtaError && error.reason === "CREDENTIAL_INVALID";
}
