import { OtaError } from "../../errors.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Logger } from "../../infra/logger.ts";
import { type Caller, callerOf } from "./caller.ts";

/** What requests that are still on their way may hold. */
export interface PendingRequestLimits {
  /** Bytes of messages that have not arrived as a whole, of one device, token or (without either) address. */
  readonly bytesPerCaller: number;
  /** The same of all callers. */
  readonly bytes: number;
  /** How long one may take to arrive as a whole, in milliseconds. */
  readonly timeoutMs: number;
}

/** What {@link PendingRequests} are made of. */
export interface PendingRequestsParts {
  readonly limits: PendingRequestLimits;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A call whose request is on its way. */
export interface Sender extends Caller {
  /** Tells the door to refuse the call. */
  abort(reason: Error): void;
}

/**
 * The requests that have been let in and have not arrived as a whole. A message must be put together in memory before
 * it can be read, and its sender may stop before the last byte: so what all of them hold is bounded, what one caller
 * holds is bounded, and one that does not arrive in time is refused. Streams are none: they are read as they are used.
 */
export class PendingRequests {
  /** Refuses what takes too long; runs only while something is on its way. */
  readonly round: Round;
  readonly #limits: PendingRequestLimits;
  readonly #clock: Clock;
  /** In the order of their beginnings. */
  readonly #open = new Set<PendingRequest>();
  readonly #bytesByCaller = new Map<string, number>();
  #bytes = 0;

  constructor({ limits, clock, logger }: PendingRequestsParts) {
    this.#limits = limits;
    this.#clock = clock;
    this.round = new Round({ name: "pending_requests", work: () => this.#refuseLate(), clock, logger });
  }

  /** How many requests are on their way. */
  get size(): number {
    return this.#open.size;
  }

  /** How many bytes they hold. */
  get bytes(): number {
    return this.#bytes;
  }

  /** From now on the call's request is on its way. Every request that begins must {@link PendingRequest.end}. */
  begin(sender: Sender): PendingRequest {
    const request = new PendingRequest(this, sender, this.#clock.monotonicMs());
    this.#open.add(request);
    if (this.#open.size === 1) this.round.soon(lookEveryMs);
    return request;
  }

  /** For {@link PendingRequest}: counts bytes for a caller. Throws RESOURCE_EXHAUSTED where they are too many. */
  take(caller: string, bytes: number): void {
    const ofCaller = (this.#bytesByCaller.get(caller) ?? 0) + bytes;
    if (ofCaller > this.#limits.bytesPerCaller) throw tooMuch("this caller's", this.#limits.bytesPerCaller);
    if (this.#bytes + bytes > this.#limits.bytes) throw tooMuch("all callers'", this.#limits.bytes);
    this.#bytesByCaller.set(caller, ofCaller);
    this.#bytes += bytes;
  }

  /** For {@link PendingRequest}: forgets it, and the bytes that it counted. */
  release(request: PendingRequest, caller: string, bytes: number): void {
    this.#open.delete(request);
    if (bytes === 0) return;
    this.#bytes -= bytes;
    const ofCaller = (this.#bytesByCaller.get(caller) ?? 0) - bytes;
    if (ofCaller > 0) this.#bytesByCaller.set(caller, ofCaller);
    else this.#bytesByCaller.delete(caller);
  }

  #refuseLate(): void {
    const beganBeforeMs = this.#clock.monotonicMs() - this.#limits.timeoutMs;
    for (const request of this.#open) {
      if (request.beganMs > beganBeforeMs) break;
      request.refuse(late(this.#limits.timeoutMs));
    }
    if (this.#open.size > 0) this.round.soon(lookEveryMs);
  }
}

/** One request that is on its way. */
export class PendingRequest {
  /** By the monotonic clock, in milliseconds. */
  readonly beganMs: number;
  readonly #requests: PendingRequests;
  readonly #sender: Sender;
  #bytes = 0;
  #ended = false;

  constructor(requests: PendingRequests, sender: Sender, beganMs: number) {
    this.#requests = requests;
    this.#sender = sender;
    this.beganMs = beganMs;
  }

  /** Bytes have come, or are announced. Refuses the call if they are too many. */
  grow(bytes: number): void {
    if (this.#ended) return;
    try {
      this.#requests.take(callerOf(this.#sender), bytes);
      this.#bytes += bytes;
    } catch (error) {
      this.refuse(error as OtaError);
    }
  }

  /** Ends it, and the call with it. */
  refuse(reason: OtaError): void {
    this.end();
    this.#sender.abort(reason);
  }

  /** It is complete, or nobody waits for it any more. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#requests.release(this, callerOf(this.#sender), this.#bytes);
  }
}

/** The largest request of those who need no credential: enrolments, questions about health and contract. */
export const maxPublicMessageBytes = 64 * 1024;

/** MESSAGE_TOO_LARGE for a request of a call that needs no credential. */
export function publicMessageTooLarge(): OtaError {
  return new OtaError(
    "resource_exhausted",
    "MESSAGE_TOO_LARGE",
    `without a credential a request may have at most ${maxPublicMessageBytes} bytes`,
    { metadata: { limit: String(maxPublicMessageBytes), httpStatus: "413" } },
  );
}

const lookEveryMs = 1_000;

function tooMuch(whose: string, limit: number): OtaError {
  return new OtaError(
    "resource_exhausted",
    "QUEUE_FULL",
    `${whose} requests that have not arrived as a whole hold ${limit} bytes; send fewer at a time`,
    { metadata: { limit: String(limit) }, retryAfterMs: 1_000 },
  );
}

function late(timeoutMs: number): OtaError {
  return new OtaError(
    "deadline_exceeded",
    "DEADLINE_EXCEEDED",
    `the request did not arrive as a whole within ${timeoutMs / 1_000} s`,
    { metadata: { httpStatus: "408" } },
  );
}
