import { bearerToken } from "../../call/bearer.ts";
import { OtaError } from "../../errors.ts";
import type { Call, CallerIdentifier } from "./call.ts";

/**
 * The streams that operators hold open. A call is admitted once, but a watch may stay open for days: one whose token was
 * revoked or has expired is cut within seconds. Devices' streams are not looked at here: they are told of the revocation.
 */
export class OperatorStreams {
  readonly #authenticator: CallerIdentifier;
  readonly #open = new Set<Call>();
  #timer: NodeJS.Timeout | undefined;

  constructor(authenticator: CallerIdentifier) {
    this.#authenticator = authenticator;
  }

  /** Looks after a call from now on. */
  add(call: Call): void {
    this.#open.add(call);
    this.#timer ??= setInterval(() => void this.#check(), checkIntervalMs).unref();
  }

  /** Forgets a call that has ended, if it was looked after. */
  delete(call: Call): void {
    if (!this.#open.delete(call) || this.#open.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #check(): Promise<void> {
    await Promise.all([...this.#open].map((call) => this.#cutIfRefused(call)));
  }

  async #cutIfRefused(call: Call): Promise<void> {
    try {
      await this.#authenticator.identify(bearerToken(call.authorization));
    } catch (error) {
      // An outage of the database says nothing about the token.
      if (error instanceof OtaError && error.code === "unauthenticated") call.abort(error);
    }
  }
}

/** Few streams, and a look in memory each. */
const checkIntervalMs = 2_000;
