import { actorOf } from "../../call/identity.ts";
import type { OtaError } from "../../errors.ts";
import type { AccessRule } from "./access-rule.ts";
import type { Call } from "./call.ts";
import { callerOf } from "./caller.ts";
import type { RateLimiter } from "./rate-limit.ts";

/** Keeps the record of refused calls. */
export interface RefusalRecord {
  note(refused: {
    readonly actor: string;
    readonly address: string;
    readonly requestId: string;
    readonly method: string;
    readonly reason: string;
    readonly words: string;
    readonly omitted: number;
  }): void;
}

/** What {@link Refusals} are made of. */
export interface RefusalsParts {
  readonly rateLimiter: RateLimiter;
  readonly refusals: RefusalRecord;
}

/**
 * Calls that their callers were not allowed to make, for the audit log. Each caller has so many in a minute, and all together ten
 * times as many: who floods fills no table, and drowns nobody else's. What is left out is counted in the next record.
 */
export class Refusals {
  readonly #parts: RefusalsParts;
  #omitted = 0;

  constructor(parts: RefusalsParts) {
    this.#parts = parts;
  }

  /** Notes a failed call, if it is one of these. */
  note(call: Call, method: string, access: AccessRule<never>, error: OtaError): void {
    if (!isRefusal(access, error)) return;
    const { rateLimiter, refusals } = this.#parts;
    const { identity, peer, requestId } = call;
    const fits =
      rateLimiter.consume("refusal", callerOf(call)).ok &&
      rateLimiter.consume("refusal", all, 1 / callersAtOnce).ok;
    if (!fits) {
      this.#omitted++;
      return;
    }
    const actor = actorOf(identity);
    const { reason, message: words } = error;
    refusals.note({ actor, address: peer, requestId, method, reason, words, omitted: this.#omitted });
    this.#omitted = 0;
  }
}

/** Not allowed to somebody who is known; or privileged, and nobody knows who it was. */
function isRefusal({ role }: AccessRule<never>, { code }: OtaError): boolean {
  if (code === "permission_denied") return true;
  return code === "unauthenticated" && (role === "operator" || role === "admin");
}

/** No caller is named so. */
const all = "*";

const callersAtOnce = 10;
