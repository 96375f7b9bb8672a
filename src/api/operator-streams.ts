import { bearerToken } from "../access/bearer.ts";
import type { Identity } from "../access/identity.ts";
import { OtaError } from "../errors.ts";
import type { Call } from "./call.ts";

/** What {@link OperatorStreams} are made of. */
export interface OperatorStreamsParts {
  /** Says who holds a token now; throws or rejects with UNAUTHENTICATED if nobody does any more. */
  readonly identify: (token: string) => Identity | Promise<Identity>;
  /** How often every open stream is looked at; two seconds unless given. */
  readonly checkIntervalMs?: number | undefined;
}

/**
 * The streams that operators hold open. A call is admitted once, but a watch may stay open for days: one whose token was
 * revoked or has expired is cut within seconds. Devices' streams are not looked at here: they are told of the revocation.
 */
export class OperatorStreams {
  readonly #parts: OperatorStreamsParts;
  readonly #open = new Set<Call>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: OperatorStreamsParts) {
    this.#parts = parts;
  }

  /** Looks after a call from now on. */
  add(call: Call): void {
    this.#open.add(call);
    this.#timer ??= setInterval(
      () => void this.#check(),
      this.#parts.checkIntervalMs ?? defaultCheckIntervalMs,
    ).unref();
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
      await this.#parts.identify(bearerToken(call.authorization));
    } catch (error) {
      // An outage of the database says nothing about the token.
      if (error instanceof OtaError && error.code === "unauthenticated") call.abort(error);
    }
  }
}

const defaultCheckIntervalMs = 2_000;
