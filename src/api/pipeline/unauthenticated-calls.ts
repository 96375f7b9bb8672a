import type { OtaError } from "../../errors.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Logger } from "../../infra/logger.ts";
import type { Call } from "./call.ts";

/**
 * Calls that were refused because nobody could tell who calls. The first is logged at once; what follows within a minute is
 * one line, however many there are: who guesses must not fill the disk.
 */
export class UnauthenticatedCalls {
  /** Writes the line; runs only while there is something to write. */
  readonly round: Round;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #count = 0;
  readonly #reasons = new Map<string, number>();
  readonly #addresses = new Map<string, number>();
  #nextLineMs = Number.NEGATIVE_INFINITY;

  constructor({ clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.#clock = clock;
    this.#logger = logger;
    this.round = new Round({ name: "unauthenticated_calls", work: () => this.#write(), clock, logger });
  }

  /** Notes a call that was refused with UNAUTHENTICATED, or for too many wrong tokens. */
  note(call: Pick<Call, "peer">, { reason }: OtaError): void {
    this.#count++;
    add(this.#reasons, reason);
    add(this.#addresses, call.peer);
    const waitMs = this.#nextLineMs - this.#clock.monotonicMs();
    if (waitMs > 0) this.round.soon(waitMs);
    else this.#write();
  }

  #write(): void {
    if (this.#count === 0) return;
    this.#logger.info(
      {
        count: this.#count,
        reasons: Object.fromEntries(this.#reasons),
        addresses: Object.fromEntries(this.#addresses),
      },
      "refused calls without a valid credential",
    );
    this.#count = 0;
    this.#reasons.clear();
    this.#addresses.clear();
    this.#nextLineMs = this.#clock.monotonicMs() + lineEveryMs;
  }
}

const lineEveryMs = 60_000;

/** So many addresses make a line that can be read; the number of calls counts the others too. */
const maxNamed = 20;

function add(counts: Map<string, number>, key: string): void {
  const count = counts.get(key);
  if (count !== undefined || counts.size < maxNamed) counts.set(key, (count ?? 0) + 1);
}
