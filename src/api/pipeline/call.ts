import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import type { ShownCertificate } from "../../call/client-certificate.ts";
import { actorOf, type Identity } from "../../call/identity.ts";
import { traceContextOf } from "../../call/trace-context.ts";
import type { CallTrace } from "../../infra/tracing/tracing.ts";
import type { CallContext, Door } from "./endpoint.ts";
import type { Place } from "./places.ts";

/** Says who holds a credential. Answers at once where it can, so that the hot path has no promise in it. */
export interface CallerIdentifier {
  /**
   * Throws (or rejects with) UNAUTHENTICATED for a token that is unknown, expired or revoked. `beforeLookUp` runs before a token
   * is looked for that is not in memory; what it throws is thrown instead.
   */
  identify(token: string, beforeLookUp?: () => void): Identity | Promise<Identity>;
  /**
   * The same of a call that was let in before. What a device signed may have come to its end meanwhile, and its next token may have
   * taken this one's place: the device is the same.
   */
  identifyAgain(token: string): Identity | Promise<Identity>;
  /** Tells the listener whenever a credential changed, on whichever replica, and of which device it is, where that is at hand. */
  onChange(listener: (deviceId?: string) => void): void;
}

/** Looks after calls that turn out to last. */
interface LongCalls {
  addOneOfMany(call: Call): void;
}

/** What a door tells the pipeline of a call that came in. */
export interface CallOrigin {
  readonly door: Door;
  /** The `authorization` header as it came. */
  readonly authorization: string | undefined;
  /** What the client showed when the connection began, if it is TLS and asks for certificates. */
  readonly certificate?: ShownCertificate | undefined;
  /** The `x-request-id` header as it came. */
  readonly requestId: string | undefined;
  /** The caller's address, without port. */
  getPeer(): string;
  /** The `traceparent` header as it came. */
  getTraceparent(): string | undefined;
}

/**
 * One call on its way through the pipeline; handlers see it as their {@link CallContext}. What most calls never ask
 * for (signal, logger, address) is made when it is first asked for: making all three cost as much as a small call.
 */
export class Call implements CallContext {
  readonly door: Door;
  readonly authorization: string | undefined;
  readonly certificate: ShownCertificate | undefined;
  readonly requestId: string;
  /** Whether the caller named the call, and so wants to hear the name again. */
  readonly isNamed: boolean;
  readonly startedMs: number;
  /** Set by the pipeline as soon as the caller is known. */
  identity: Identity = anonymous;
  /** Set when the call was counted and logged, which happens once. */
  finished = false;
  /** Set while the call counts as an open stream. */
  streaming = false;
  /** Set when a unary call began to wait. */
  isLong = false;
  /** How long it waited because its caller wished so. */
  waitedMs = 0;
  /** What it holds while it is open. */
  place: Place | undefined;
  /** Set where the service is traced. */
  trace: CallTrace | undefined;
  readonly #origin: CallOrigin;
  readonly #method: string;
  readonly #baseLogger: Logger;
  readonly #longCalls: LongCalls;
  #logger: Logger | undefined;
  /** Whom the logger names. */
  #loggedIdentity: Identity | undefined;
  #controller: AbortController | undefined;
  #abortReason: Error | undefined;
  #abortListener: ((reason: Error) => void) | undefined;

  constructor(
    origin: CallOrigin,
    method: string,
    baseLogger: Logger,
    startedMs: number,
    longCalls: LongCalls,
  ) {
    this.door = origin.door;
    this.authorization = origin.authorization;
    this.certificate = origin.certificate;
    const named = isSaneRequestId(origin.requestId) ? origin.requestId : undefined;
    this.isNamed = named !== undefined;
    this.requestId = named ?? randomUUID();
    this.startedMs = startedMs;
    this.#origin = origin;
    this.#method = method;
    this.#baseLogger = baseLogger;
    this.#longCalls = longCalls;
  }

  get peer(): string {
    return this.#origin.getPeer();
  }

  get logger(): Logger {
    if (this.#logger === undefined || this.#loggedIdentity !== this.identity) {
      this.#loggedIdentity = this.identity;
      this.#logger = this.#baseLogger.child(this.#loggedFields());
    }
    return this.#logger;
  }

  /** The trace's id as the service or else the caller has it. */
  get traceId(): string | undefined {
    return this.trace?.traceId ?? traceContextOf(this.#origin.getTraceparent())?.traceId;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  lasts(): void {
    // Nothing would make anybody forget a call that is over.
    if (this.finished) return;
    this.isLong = true;
    this.#longCalls.addOneOfMany(this);
  }

  waited(ms: number): void {
    this.waitedMs += ms;
  }

  /** Why the call was cut short; undefined while it was not. */
  get abortReason(): Error | undefined {
    return this.#abortReason;
  }

  /** Tells the handler that nobody waits for it any more. The first reason stands. */
  abort(reason: Error): void {
    if (this.#abortReason !== undefined) return;
    this.#abortReason = reason;
    this.#abortListener?.(reason);
    this.#controller?.abort(reason);
  }

  #loggedFields(): object {
    const { identity, requestId, traceId } = this;
    return {
      requestId,
      method: this.#method,
      ...(traceId === undefined ? {} : { traceId }),
      actor: actorOf(identity),
      ...(identity.kind === "device" ? { deviceId: identity.deviceId } : {}),
    };
  }

  /** For the door that serves the call: runs when the call is cut short, before the handler can react to the signal. */
  onAbort(listener: (reason: Error) => void): void {
    const earlier = this.#abortListener;
    this.#abortListener =
      earlier === undefined
        ? listener
        : (reason) => {
            earlier(reason);
            listener(reason);
          };
  }
}

const anonymous: Identity = { kind: "anonymous" };

const maxRequestIdLength = 64;

/** Taken over from the caller only if it can be printed anywhere: log lines, headers, terminals. */
function isSaneRequestId(value: string | undefined): value is string {
  return (
    value !== undefined &&
    value.length <= maxRequestIdLength &&
    /^[A-Za-z0-9][A-Za-z0-9._:/+=-]*$/.test(value)
  );
}
