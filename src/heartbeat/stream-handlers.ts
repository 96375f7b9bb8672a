import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type HeartbeatBatch,
  type StreamHeartbeatsRequest,
  type StreamHeartbeatsResponse,
  StreamHeartbeatsResponseSchema,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import type { CallContext } from "../api/pipeline/endpoint.ts";
import { callingDevice, shallRotate } from "../call/identity.ts";
import type { BootObserver } from "../device/state/boot-sighting.ts";
import type { DurableHeartbeat } from "../device/state/heartbeat-record.ts";
import { invalidArgument, OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import type { Logger } from "../infra/logger.ts";
import { withTimeLimit } from "../infra/time-limit.ts";
import { checkedBatch } from "./batch-messages.ts";
import { maxBatchSize } from "./batch-size.ts";
import type { ByteBudgets } from "./heartbeat-bytes.ts";
import type { HeartbeatFaults } from "./heartbeat-faults.ts";
import type { HeartbeatIngest } from "./heartbeat-ingest.ts";
import { helloOf, outputMessage } from "./heartbeat-messages.ts";
import type { HeartbeatStreams } from "./heartbeat-streams.ts";
import { bootOfBatch, bootOfHello } from "./live-boots.ts";
import type { StreamHello, StreamObserver } from "./stream-hello.ts";
import type { StreamOpening, StreamOpenings } from "./stream-openings.ts";
import { StreamSession } from "./stream-session.ts";

/** Takes points from a device's allowance of messages. */
export type ConsumeRate = (
  deviceId: string,
  points: number,
) => { readonly ok: true } | { readonly ok: false; readonly retryAfterMs: number };

/** What a {@link HeartbeatStreamHandler} is made of. */
export interface StreamHandlerParts {
  readonly ingest: HeartbeatIngest;
  readonly streams: HeartbeatStreams;
  readonly openings: StreamOpenings;
  readonly faults: HeartbeatFaults;
  readonly observers: readonly StreamObserver[];
  /** Is told which boots live. */
  readonly boots: BootObserver;
  /**
   * The limit counts messages, not heartbeats: a device that catches up sends few large batches, and is not to be
   * punished for having been offline. The budgets bound what it can send in them.
   */
  readonly consumeRate: ConsumeRate;
  readonly budgets: ByteBudgets;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often devices are told to send a heartbeat. */
  readonly heartbeatIntervalMs: number;
  /** The random time that they are told to add to each interval. */
  readonly heartbeatJitterMs: number;
}

/** Serves `StreamHeartbeats`: reads and writes at the same time, with a {@link StreamSession} between the two. */
export class HeartbeatStreamHandler {
  readonly #parts: StreamHandlerParts;

  constructor(parts: StreamHandlerParts) {
    this.#parts = parts;
  }

  /** One stream, from hello to its end. The session is what a stream's two halves share; nobody else holds them. */
  async *handle(
    requests: AsyncIterable<StreamHeartbeatsRequest>,
    context: CallContext,
  ): AsyncGenerator<StreamHeartbeatsResponse, void> {
    const { streams } = this.#parts;
    const incoming = requests[Symbol.asyncIterator]();
    let session: StreamSession | undefined;
    try {
      const told = await this.#hello(incoming, callingDevice(context.identity, "send heartbeats"));
      const place = streams.reserve(told.deviceId);
      let opening: StreamOpening;
      try {
        opening = await this.#parts.openings.open(told.deviceId, told.epoch);
        const { epoch, generation, durableSequence } = opening;
        session = new StreamSession({
          deviceId: told.deviceId,
          epoch,
          followsEpoch: told.epoch === 0,
          generation,
          durableSequence,
        });
        streams.add(session);
      } finally {
        place.done();
      }
      const hello = { ...told, epoch: opening.epoch };
      for (const observer of this.#parts.observers) observer.streamOpened(hello);
      if (shallRotate(context.identity)) streams.send(told.deviceId, { kind: "rotate_token" });
      this.#parts.boots.sighted(bootOfHello(hello, this.#parts.clock.now()));
      void this.#read(incoming, session, hello, context);
      // What observers and acks have queued in the session comes behind it.
      yield this.#welcome(hello, opening);
      for (;;) {
        const output = session.take();
        if (output !== undefined) yield outputMessage(output);
        else if (session.isDone) return;
        else await session.changed();
      }
    } finally {
      if (session !== undefined) {
        session.finish();
        streams.remove(session);
      }
      // Not awaited: an iterator that waits for its next message answers only when that has come.
      void incoming.return?.().catch(() => undefined);
    }
  }

  async #hello(incoming: AsyncIterator<StreamHeartbeatsRequest>, deviceId: string): Promise<StreamHello> {
    const { value, done } = await withTimeLimit(incoming.next(), helloTimeoutMs, helloRequired);
    if (done === true || value.message.case !== "hello") throw helloRequired();
    return helloOf(value.message.value, deviceId);
  }

  #welcome(hello: StreamHello, opening: StreamOpening): StreamHeartbeatsResponse {
    return create(StreamHeartbeatsResponseSchema, {
      message: {
        case: "welcome",
        value: {
          durableSequence: BigInt(opening.durableSequence),
          epoch: hello.epoch,
          serverTime: timestampFromDate(this.#parts.clock.now()),
          streamGeneration: BigInt(opening.generation),
          heartbeatInterval: durationFromMs(this.#parts.heartbeatIntervalMs),
          heartbeatJitter: durationFromMs(this.#parts.heartbeatJitterMs),
          maxBatchSize,
        },
      },
    });
  }

  /** Reads until the stream ends; whatever goes wrong ends the session, which ends the stream. */
  async #read(
    incoming: AsyncIterator<StreamHeartbeatsRequest>,
    session: StreamSession,
    hello: StreamHello,
    context: CallContext,
  ): Promise<void> {
    try {
      for (;;) {
        const { value, done } = await incoming.next();
        if (done === true || session.isEnding) break;
        const { message } = value;
        if (message.case === "goodbye") break;
        if (message.case !== "batch")
          throw invalidArgument("message", "must be a batch or goodbye after the first");
        const wait = this.#take(message.value, session, hello, context);
        if (wait !== undefined) await wait;
        if (session.isCongested) await room(session, context.signal);
      }
      session.finish();
    } catch (error) {
      session.fail(error);
    }
  }

  /** Hands a batch on; a promise means that the queue is full and nothing more may be read before it resolves. */
  #take(
    { heartbeats }: HeartbeatBatch,
    session: StreamSession,
    hello: StreamHello,
    context: CallContext,
  ): Promise<void> | undefined {
    const verdict = this.#parts.consumeRate(session.deviceId, 1);
    if (!verdict.ok) this.#slowDown(session, verdict.retryAfterMs);
    const batch = checkedBatch(heartbeats, {
      deviceId: session.deviceId,
      epoch: session.epoch,
      receivedAt: this.#parts.clock.now(),
      hello,
    });
    this.#parts.budgets.take(session.deviceId, batch.records);
    this.#parts.faults.checked(session.deviceId, batch);
    this.#sight(session, batch.records, hello);
    return this.#parts.ingest.enqueue(session.submission(batch), () => context.signal);
  }

  /** Once a stream: it is one machine, and stays the same boot while it is open. */
  #sight(session: StreamSession, records: readonly DurableHeartbeat[], hello: StreamHello): void {
    if (session.isBootSeen) return;
    const sighting = bootOfBatch(records, hello);
    if (sighting === undefined) return;
    session.isBootSeen = true;
    this.#parts.boots.sighted(sighting);
  }

  /** Asks a device that is too fast to slow down, and after a while of being ignored ends its stream. */
  #slowDown(session: StreamSession, retryAfterMs: number): void {
    const nowMs = this.#parts.clock.monotonicMs();
    const { slowDown } = session;
    if (slowDown === undefined || nowMs - slowDown.lastMs > slowDownGraceMs) {
      session.slowDown = { sinceMs: nowMs, lastMs: nowMs, count: 1 };
      const minIntervalMs = Math.max(retryAfterMs, this.#parts.heartbeatIntervalMs);
      this.#parts.streams.send(session.deviceId, { kind: "slow_down", minIntervalMs });
      return;
    }
    slowDown.lastMs = nowMs;
    slowDown.count++;
    if (nowMs - slowDown.sinceMs <= slowDownGraceMs && slowDown.count <= maxMessagesOverLimit) return;
    throw new OtaError("resource_exhausted", "RATE_LIMITED", "heartbeats kept coming too fast", {
      metadata: { limit: "heartbeat" },
      retryAfterMs: Math.max(retryAfterMs, slowDownGraceMs),
    });
  }
}

/** A stream that says nothing holds memory; a device on a slow link may need a while. */
const helloTimeoutMs = 30_000;

/** How long a device has to obey, and how long it must then behave before it is asked anew instead of cut off. */
const slowDownGraceMs = 60_000;

/** A device that sends this many messages more than it may within the grace is not slow to obey, it floods. */
const maxMessagesOverLimit = 200;

/** Waits until the session has room. A call that is cut short meanwhile ends the session: nothing else would notice. */
async function room(session: StreamSession, signal: AbortSignal): Promise<void> {
  const onAbort = (): void => session.fail(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await session.room();
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function helloRequired(): OtaError {
  return new OtaError(
    "failed_precondition",
    "HELLO_REQUIRED",
    "the first message of a stream must be a hello",
  );
}
