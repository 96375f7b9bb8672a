import type { BlockList } from "node:net";
import { create, type DescMessage, type Message } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import type { CertificateHolders } from "../../call/client-certificate.ts";
import { actorOf, type Identity, roleIncludes } from "../../call/identity.ts";
import { traceContextOf } from "../../call/trace-context.ts";
import { OtaError } from "../../errors.ts";
import type { BackgroundWork } from "../../infra/background/work-log.ts";
import type { Clock } from "../../infra/clock.ts";
import type { RpcMetrics } from "../../infra/rpc-metrics.ts";
import type { Tracing } from "../../infra/tracing/tracing.ts";
import type { AccessRule } from "./access-rule.ts";
import { Call, type CallerIdentifier, type CallOrigin } from "./call.ts";
import { callerOf } from "./caller.ts";
import { CredentialGuard } from "./credential-guard.ts";
import type { Door, Endpoint, PlaceKind, RateClass } from "./endpoint.ts";
import { type Failure, failureOf, type TranslateError } from "./failure.ts";
import { OpenCalls } from "./open-calls.ts";
import { type PendingRequestLimits, PendingRequests } from "./pending-requests.ts";
import type { Places } from "./places.ts";
import { type RateLimiter, rateLimited } from "./rate-limit.ts";
import { type RefusalRecord, Refusals } from "./refusals.ts";
import { ResourceUpdate } from "./resource-update.ts";
import { outOfScope, scopeOfCaller } from "./scoped-endpoint.ts";
import { UnauthenticatedCalls } from "./unauthenticated-calls.ts";
import { type UnreadAnswerLimits, UnreadAnswers } from "./unread-answers.ts";
import { checkRequest } from "./validation.ts";

/** What the pipeline is made of. */
export interface PipelineParts {
  readonly authenticator: CallerIdentifier;
  /** Who devices are by their certificates; undefined where none count. */
  readonly certificates?: CertificateHolders<Identity> | undefined;
  readonly rateLimiter: RateLimiter;
  readonly places: Places;
  readonly translateError: TranslateError;
  readonly logger: Logger;
  readonly metrics: RpcMetrics;
  readonly clock: Clock;
  /** Follows calls; undefined where nobody asked for it. */
  readonly tracing?: Pick<Tracing, "beginCall"> | undefined;
  readonly pendingRequests: PendingRequestLimits;
  readonly unreadAnswers: UnreadAnswerLimits;
  /** Where refused calls are put on record. */
  readonly refusals: RefusalRecord;
  /** Proxies that are not limited by their address. */
  readonly trustedProxies: BlockList;
}

/** What the pipeline must know of something callable, be it an RPC or a raw HTTP route. */
export interface Target {
  /** The name in logs and metrics: `ota.v1.UpdateService/CheckForUpdate`, or a route. */
  readonly name: string;
  readonly access: AccessRule<never>;
  readonly rate: RateClass;
  /** The limit of devices, where it is another one. */
  readonly deviceRate?: RateClass | undefined;
  /** The places that its calls take. */
  readonly place?: PlaceKind | undefined;
  /** Of the request message; undefined for raw routes. */
  readonly input: DescMessage | undefined;
  readonly streaming: boolean;
}

/**
 * What every call goes through, whichever door it came in by: identity, access rule, rate limit, validation, error
 * mapping, log and metrics. The doors only move bytes: they make a {@link Route} per endpoint at start and lead each
 * call through it.
 */
export class Pipeline {
  readonly parts: PipelineParts;
  /** For the doors: the requests that are let in and still on their way. */
  readonly pendingRequests: PendingRequests;
  /** For the doors: the answers that were handed to connections and not taken yet. */
  readonly unreadAnswers: UnreadAnswers;
  readonly #shared: Shared;

  constructor(parts: PipelineParts) {
    this.parts = parts;
    this.pendingRequests = new PendingRequests({ ...parts, limits: parts.pendingRequests });
    const credentials = new CredentialGuard(parts);
    this.unreadAnswers = new UnreadAnswers({ ...parts, limits: parts.unreadAnswers });
    this.#shared = {
      openCalls: new OpenCalls({ ...parts, credentials }),
      credentials,
      unauthenticated: new UnauthenticatedCalls(parts),
      refusals: new Refusals(parts),
    };
  }

  /** What goes on by itself. */
  get background(): readonly BackgroundWork[] {
    const { openCalls, unauthenticated } = this.#shared;
    return [openCalls.round, unauthenticated.round, this.pendingRequests.round, this.unreadAnswers.round];
  }

  /** Cuts what a device has open here, but for heartbeat streams and update checks that wait. */
  disconnect(deviceId: string, why: OtaError): void {
    this.#shared.openCalls.disconnect(deviceId, why);
  }

  /** Notices of what became of devices and credentials may have been lost: looks at whoever has something open. */
  noticesMissed(): void {
    this.#shared.openCalls.noticesMissed();
  }

  /** The way of an RPC through one door. */
  rpc(endpoint: Endpoint, door: Door): Route {
    const { method, access, options, kind } = endpoint;
    const isStream = kind !== "unary";
    const anybodys = access.public === true ? "anonymous" : "operators";
    return this.route(
      {
        name: methodName(endpoint),
        access: access as AccessRule<never>,
        rate: options.rate,
        deviceRate: options.deviceRate,
        place: options.place ?? (isStream ? anybodys : undefined),
        input: method.input,
        streaming: isStream,
      },
      door,
    );
  }

  /** The way of anything else. */
  route(target: Target, door: Door): Route {
    return new Route(target, door, this.parts, this.#shared);
  }
}

/** What the ways of all endpoints share. */
interface Shared {
  readonly openCalls: OpenCalls;
  readonly credentials: CredentialGuard;
  readonly unauthenticated: UnauthenticatedCalls;
  readonly refusals: Refusals;
}

/** An RPC's full name, `ota.v1.UpdateService/CheckForUpdate`. */
export function methodName(endpoint: Endpoint): string {
  return `${endpoint.method.parent.typeName}/${endpoint.method.name}`;
}

/** The way of one endpoint through one door. The order of a call: open, admit, check (each message), then succeed or fail. */
export class Route {
  readonly target: Target;
  readonly #door: Door;
  readonly #parts: PipelineParts;
  readonly #shared: Shared;
  readonly #durations = new Map<string, { observe(seconds: number): void }>();
  /** Whether its calls last, and of which kind they are. */
  readonly #lasts: "call" | "heartbeats" | undefined;
  readonly #openStreams: { inc(): void; dec(): void } | undefined;
  readonly #messagesIn: { inc(count: number): void } | undefined;
  readonly #messagesOut: { inc(count: number): void } | undefined;
  readonly #resourceUpdate: ResourceUpdate | undefined;

  constructor(target: Target, door: Door, parts: PipelineParts, shared: Shared) {
    this.target = target;
    this.#door = door;
    this.#parts = parts;
    this.#shared = shared;
    this.#resourceUpdate = target.input && ResourceUpdate.of(target.input);
    if (target.place !== undefined) this.#lasts = target.place === "heartbeats" ? "heartbeats" : "call";
    if (target.streaming) {
      this.#openStreams = parts.metrics.openStreams(target.name, door);
      this.#messagesIn = parts.metrics.messages(target.name, "in");
      this.#messagesOut = parts.metrics.messages(target.name, "out");
    }
  }

  /** Begins a call. Every call that was opened must end in {@link succeed} or {@link fail}. */
  open(origin: CallOrigin): Call {
    const { tracing, logger, clock } = this.#parts;
    const call = new Call(origin, this.target.name, logger, clock.monotonicMs(), this.#shared.openCalls);
    if (tracing !== undefined) {
      const parent = traceContextOf(origin.getTraceparent());
      call.trace = tracing.beginCall(this.target.name, this.#door, parent);
    }
    if (this.#openStreams !== undefined) {
      call.streaming = true;
      this.#openStreams.inc();
    }
    return call;
  }

  /**
   * Finds out who calls, whether they may, not too often, and whether there is a place for the call. It comes before a request is parsed, so that a
   * stranger costs little and learns nothing (AIP-211). Throws or rejects with an OtaError; returns a promise only if
   * the identity is not at hand.
   */
  admit(call: Call): undefined | Promise<void> {
    const { access } = this.target;
    if (access.public === true) {
      this.#count(call);
      this.#takePlace(call);
      return undefined;
    }
    const identity = this.#shared.credentials.identify(call);
    if (identity instanceof Promise) return identity.then((known) => this.#admitAs(call, known));
    this.#admitAs(call, identity);
    return undefined;
  }

  /** Checks one request message: that a device names no other device, then the contract's rules. Throws an OtaError. */
  check(call: Call, message: Message): void {
    const { access, input } = this.target;
    if (typeof access.device === "function" && call.identity.kind === "device") {
      const named = access.device(message as never) as string | undefined;
      if (named !== undefined && named !== call.identity.deviceId) throw notYourDevice(named);
    }
    this.#resourceUpdate?.expand(message);
    if (input !== undefined) checkRequest(input, message);
  }

  /** Checks each message of a request stream as it is pulled, and counts them. */
  async *checked<T extends Message>(call: Call, messages: AsyncIterable<T>): AsyncGenerator<T, void> {
    let count = 0;
    try {
      for await (const message of messages) {
        count++;
        this.check(call, message);
        yield message;
      }
    } finally {
      this.countMessages(count, 0);
    }
  }

  /** Counts messages of a stream; called now and then with sums, not for each message. */
  countMessages(received: number, sent: number): void {
    if (received > 0) this.#messagesIn?.inc(received);
    if (sent > 0) this.#messagesOut?.inc(sent);
  }

  /** Ends a call well. */
  succeed(call: Call): void {
    if (call.finished) return;
    const elapsedMs = this.#finish(call, "ok");
    if (elapsedMs > slowCallMs && !this.target.streaming) {
      call.logger.warn({ door: this.#door, elapsedMs: Math.round(elapsedMs) }, "slow call");
    } else if (this.#parts.logger.isLevelEnabled("debug")) {
      call.logger.debug({ door: this.#door, elapsedMs: Math.round(elapsedMs) }, "call");
    }
  }

  /** Ends a call badly: says what to send, counts and logs. */
  fail(call: Call, thrown: unknown): Failure {
    const failure = failureOf(thrown, call, this.#parts.translateError);
    if (call.finished) return failure;
    const elapsedMs = this.#finish(call, failure.error.code, failure.error.reason);
    this.#parts.metrics.failed(this.#door, failure.error.reason);
    this.#logFailure(call, failure, elapsedMs);
    this.#shared.refusals.note(call, this.target.name, this.target.access, failure.error);
    return failure;
  }

  #admitAs(call: Call, identity: Identity): void {
    call.identity = identity;
    // Also who may not: refusing costs something too.
    this.#count(call);
    requireAccess(this.target.access, identity);
    this.#takePlace(call);
    if (this.#lasts === undefined || call.finished) return;
    if (this.#lasts === "heartbeats") this.#shared.openCalls.addOneOfMany(call);
    else this.#shared.openCalls.add(call);
  }

  #count(call: Call): void {
    const { rate, deviceRate = rate } = this.target;
    const counted = call.identity.kind === "device" ? deviceRate : rate;
    const verdict = this.#parts.rateLimiter.consume(counted, callerOf(call));
    if (!verdict.ok) throw rateLimited(counted, verdict.retryAfterMs);
  }

  #takePlace(call: Call): void {
    const { place } = this.target;
    // Nothing would give back the place of a call that was over before its caller was known.
    if (place !== undefined && !call.finished) call.place = this.#parts.places.take(place, call);
  }

  #finish(call: Call, code: string, reason?: string): number {
    call.finished = true;
    call.trace?.end(actorOf(call.identity), code, reason);
    call.place?.release();
    if (this.#lasts !== undefined || call.isLong) this.#shared.openCalls.delete(call);
    if (call.streaming) this.#openStreams?.dec();
    const elapsedMs = this.#parts.clock.monotonicMs() - call.startedMs - call.waitedMs;
    let duration = this.#durations.get(code);
    if (duration === undefined) {
      duration = this.#parts.metrics.duration(this.target.name, this.#door, code);
      this.#durations.set(code, duration);
    }
    duration.observe(elapsedMs / 1_000);
    return elapsedMs;
  }

  #logFailure(call: Call, { error, code }: Failure, elapsedMs: number): void {
    if (isUnauthenticated(error)) this.#shared.unauthenticated.note(call, error);
    const level = failureLevel(error, code.fault);
    if (!this.#parts.logger.isLevelEnabled(level)) return;
    const line = {
      door: this.#door,
      code: error.code,
      reason: error.reason,
      peer: call.peer,
      elapsedMs: Math.round(elapsedMs),
      // An unforeseen error's own stack, and the low-level cause of an outage; a client's fault needs neither.
      ...(code.fault === "service" ? { err: error.cause ?? error } : {}),
    };
    call.logger[level](line, code.fault === "service" ? "call failed" : error.message.toWellFormed());
  }
}

/** The message that a handler's answer stands for. */
export function answerOf(endpoint: Endpoint, answer: object): Message {
  return create(endpoint.method.output, answer as Record<string, unknown>);
}

/**
 * The largest message in either direction, through every door. The messages of a DATA frame are held in memory together, so it is
 * small; but every heartbeat within the limits of its fields fits, in whatever alphabet its errors are written.
 */
export const maxMessageBytes = 2 * 1024 * 1024;

/** A unary call that takes longer is logged at `warn`. */
const slowCallMs = 1_000;

function failureLevel(error: OtaError, fault: "client" | "service"): "error" | "warn" | "info" | "debug" {
  if (fault === "service") return error.code === "unavailable" ? "warn" : "error";
  return error.code === "permission_denied" ? "info" : "debug";
}

/** Nobody knows who called; such calls come in masses, and are logged together. */
function isUnauthenticated(error: OtaError): boolean {
  return error.code === "unauthenticated" || error.metadata["limit"] === ("credential" satisfies RateClass);
}

function requireAccess(access: AccessRule<never>, identity: Identity): void {
  if (identity.kind === "device") {
    if (access.device !== undefined) return;
    throw roleRequired(`only operators with the role ${access.role} may call this`, access.role);
  }
  if (identity.kind === "operator" && access.role !== undefined) {
    if (roleIncludes(identity.role, access.role)) {
      if (access.scope !== undefined || scopeOfCaller(identity) === undefined) return;
      throw outOfScope("this call is not for tokens that are limited to products or devices");
    }
    throw roleRequired(
      `this call needs the role ${access.role}; the token has ${identity.role}`,
      access.role,
    );
  }
  throw roleRequired("only devices may call this", undefined);
}

function roleRequired(message: string, role: string | undefined): OtaError {
  return new OtaError("permission_denied", "ROLE_REQUIRED", message, {
    metadata: role === undefined ? {} : { role },
  });
}

/** The same text whether the other device exists or not (AIP-211). */
function notYourDevice(deviceId: string): OtaError {
  return new OtaError(
    "permission_denied",
    "NOT_YOUR_DEVICE",
    "a device may only name itself (or the device might not exist)",
    { metadata: { deviceId } },
  );
}
