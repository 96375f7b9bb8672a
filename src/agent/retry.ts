import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { ClientError } from "../client/client-error.ts";
import { Alarm } from "../infra/alarm.ts";
import { BackOff } from "../infra/back-off.ts";
import { ChunkDamaged } from "./firmware-download.ts";
import type { NetworkGate } from "./network-gate.ts";

/** What {@link Retry} works with. */
export interface RetryOptions {
  readonly gate: NetworkGate;
  readonly logger: Logger;
  readonly random: () => number;
  /** Upper bound of the waits between tries, in milliseconds. Default 60 s. */
  readonly maxRetryPauseMs?: number | undefined;
}

/** Tries calls again, with growing waits and only while the network may be used, until the service answers. */
export class Retry {
  readonly #options: RetryOptions;

  constructor(options: RetryOptions) {
    this.#options = options;
  }

  /** Throws what another try cannot mend, and the signal's reason when that aborts. */
  async run<T>(signal: AbortSignal, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { gate, logger, maxRetryPauseMs = 60_000, random } = this.#options;
    const backOff = new BackOff({ baseMs: 500, capMs: maxRetryPauseMs, random });
    for (;;) {
      await gate.passed(signal);
      signal.throwIfAborted();
      try {
        return await attempt(AbortSignal.any([signal, gate.signal]));
      } catch (error) {
        if (signal.aborted || !isWorthRetrying(error)) throw error;
        const pauseMs = backOff.next(error instanceof ClientError ? (error.retryAfterMs ?? 0) : 0);
        logger.debug({ err: error, pauseMs }, "trying again");
        if (!gate.closed) await new Alarm().wait(pauseMs, signal);
      }
    }
  }
}

/** Codes with which the service says that the same call would be refused again. */
const definitive: ReadonlySet<status> = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.FAILED_PRECONDITION,
  status.OUT_OF_RANGE,
  status.UNIMPLEMENTED,
]);

function isWorthRetrying(error: unknown): boolean {
  if (error instanceof ClientError) return error.transient || !definitive.has(error.code);
  return error instanceof ChunkDamaged || (error instanceof Error && error.name === "AbortError");
}
