import { bearerToken } from "../../call/bearer.ts";
import { OtaError } from "../../errors.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Logger } from "../../infra/logger.ts";
import type { Call, CallerIdentifier } from "./call.ts";

/** What {@link OperatorStreams} are made of. */
export interface OperatorStreamsParts {
  readonly authenticator: CallerIdentifier;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * The streams that operators hold open. A call is admitted once, but a watch may stay open for days: one whose token was
 * revoked or has expired is cut within a second. Devices' streams are not looked at here: they are told of the revocation.
 */
export class OperatorStreams {
  /** Looks at all that are open; runs only while some are. */
  readonly round: Round;
  readonly #authenticator: CallerIdentifier;
  readonly #open = new Set<Call>();

  constructor({ authenticator, clock, logger }: OperatorStreamsParts) {
    this.#authenticator = authenticator;
    this.round = new Round({ name: "operator_streams", work: () => this.#check(), clock, logger });
    authenticator.onChange(() => {
      if (this.#open.size > 0) this.round.soon(afterChangeMs);
    });
  }

  /** Looks after a call from now on. */
  add(call: Call): void {
    this.#open.add(call);
    this.round.soon(checkIntervalMs);
  }

  /** Forgets a call that has ended, if it was looked after. */
  delete(call: Call): void {
    this.#open.delete(call);
  }

  async #check(): Promise<void> {
    await Promise.all([...this.#open].map((call) => this.#cutIfRefused(call)));
    if (this.#open.size > 0) this.round.soon(checkIntervalMs);
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

/** Few streams, and a look in memory each: what expires is found out by looking. */
const checkIntervalMs = 1_000;

/** A change is heard of at once; many of them, as when a fleet enrols, are one look. */
const afterChangeMs = 100;
