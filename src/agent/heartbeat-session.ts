import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { Heartbeat } from "../../gen/ota/v1/heartbeat_pb.js";
import {
  type Ack,
  type Directive,
  HeartbeatService,
  type HelloSchema,
  type StreamHeartbeatsRequestSchema,
  type StreamHeartbeatsResponseSchema,
  type Welcome,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import { ClientError, maxAskedWaitMs } from "../client/client-error.ts";
import type { BidiCall, RpcClient } from "../client/rpc-client.ts";
import { Alarm } from "../infra/alarm.ts";
import { BackOff } from "../infra/back-off.ts";
import type { DeviceMemory } from "./device-memory.ts";
import type { HeartbeatBacklog } from "./heartbeat-backlog.ts";
import type { NetworkGate } from "./network-gate.ts";

/** How the device's heartbeat stream stands. */
export type SessionState = "connecting" | "connected" | "superseded" | "refused";

/** What the session works with. */
export interface HeartbeatSessionOptions {
  readonly client: RpcClient;
  readonly memory: DeviceMemory;
  readonly backlog: HeartbeatBacklog;
  readonly gate: NetworkGate;
  readonly logger: Logger;
  readonly random: () => number;
  /** Measures, and makes the heartbeat with this sequence. */
  readonly makeBeat: (sequence: number) => Promise<Heartbeat>;
  /** What the device says of itself at the beginning of a stream; identity and sequence are added. */
  readonly hello: () => MessageInitShape<typeof HelloSchema>;
  /** What time it is for the service. */
  readonly onServerTime: (time: Date) => void;
  readonly onState: (state: SessionState) => void;
  /** The service refuses the device. @returns whether it has another identity now */
  readonly onRefused: (error: ClientError) => Promise<boolean>;
  /** An update may wait. */
  readonly onUpdateAvailable: () => void;
  /** An update is cancelled. */
  readonly onCancelUpdate: (updateId: string) => void;
  /** The service wants the device to exchange its token; resolves with whether it has another one. */
  readonly onRotateToken: () => Promise<boolean>;
  /** How often to send, in milliseconds, whatever the service says; for simulated time only. */
  readonly intervalMs?: number | undefined;
  /** Upper bound of the waits between tries to connect, in milliseconds. Default 60 s. */
  readonly maxRetryPauseMs?: number | undefined;
}

/**
 * Keeps a device's heartbeat stream: makes a heartbeat at every interval, whether connected or not, sends what is not yet
 * durable, and forgets it when the service acknowledges it. After a cut it connects again with jitter and resends from the
 * service's mark. A stream that a newer one of the same identity has ended is not fought for.
 */
export class HeartbeatSession {
  readonly #options: HeartbeatSessionOptions;
  readonly #backOff: BackOff;
  readonly #pulse = new Alarm();
  readonly #stop = new AbortController();
  readonly #directives: string[] = [];
  #live: LiveStream | undefined;
  #intervalMs: number;
  #jitterMs = 0;
  #minIntervalMs = 0;
  #beatAsked = false;
  #acked = 0;
  #rejected = 0;

  constructor(options: HeartbeatSessionOptions) {
    this.#options = options;
    this.#intervalMs = options.intervalMs ?? firstIntervalMs;
    const { random, maxRetryPauseMs = 60_000 } = options;
    this.#backOff = new BackOff({ baseMs: 1000, capMs: maxRetryPauseMs, random });
  }

  /** How many heartbeats the service has acknowledged as durable. */
  get acknowledged(): number {
    return this.#acked;
  }

  /** How many heartbeats the service has refused for good. */
  get rejected(): number {
    return this.#rejected;
  }

  /** Makes a heartbeat now instead of at the next interval, for news that should not wait. */
  beat(): void {
    this.#beatAsked = true;
    this.#pulse.ring();
  }

  /** Beats and keeps the stream until the signal aborts or {@link close} is called. */
  async run(signal: AbortSignal): Promise<void> {
    const ended = AbortSignal.any([signal, this.#stop.signal]);
    await Promise.all([this.#keepBeating(ended), this.#keepConnected(ended)]);
  }

  /** Says goodbye, waits a moment for what is still to be acknowledged, and ends. */
  async close(reason: string): Promise<void> {
    const live = this.#live;
    if (live !== undefined) {
      // Not awaited: a service that reads nothing must not hold the device up longer than the wait below.
      void this.#sayGoodbye(live, reason);
      await new Alarm().wait(goodbyeTimeoutMs, AbortSignal.any([live.ended.signal, this.#stop.signal]));
    }
    this.#stop.abort();
  }

  async #sayGoodbye(live: LiveStream, reason: string): Promise<void> {
    await this.#flush(live);
    await live.call.send({ message: { case: "goodbye", value: { reason } } });
    live.call.finish();
  }

  async #keepBeating(signal: AbortSignal): Promise<void> {
    const { logger, makeBeat, memory, random, backlog } = this.#options;
    while (!signal.aborted) {
      try {
        backlog.push(await makeBeat(await memory.nextSequence()));
        if (this.#live !== undefined) void this.#flush(this.#live);
      } catch (error) {
        logger.error({ err: error }, "no heartbeat could be made");
      }
      await this.#nextBeat(random(), signal);
    }
  }

  /** Waits for the next heartbeat's time; a changed interval counts from the last heartbeat. */
  async #nextBeat(jitter: number, signal: AbortSignal): Promise<void> {
    const lastMs = performance.now();
    while (!signal.aborted && !this.#beatAsked) {
      const intervalMs = Math.max(this.#intervalMs, this.#minIntervalMs) + this.#jitterMs * jitter;
      const waitMs = lastMs + intervalMs - performance.now();
      if (waitMs <= 0) break;
      await this.#pulse.wait(waitMs, signal);
    }
    this.#beatAsked = false;
  }

  async #keepConnected(signal: AbortSignal): Promise<void> {
    const { gate, onState } = this.#options;
    while (!signal.aborted) {
      await gate.passed(signal);
      if (signal.aborted) return;
      onState("connecting");
      const pauseMs = await this.#connectOnce(signal);
      if (!signal.aborted && !gate.closed) await new Alarm().wait(pauseMs, signal);
    }
  }

  /** One stream from beginning to end. @returns how long to wait before the next, in milliseconds */
  async #connectOnce(signal: AbortSignal): Promise<number> {
    const { client, gate, onState } = this.#options;
    const end = AbortSignal.any([signal, gate.signal]);
    const live: LiveStream = {
      call: client.bidi(HeartbeatService.method.streamHeartbeats, { signal: end }),
      ended: new AbortController(),
      sentThrough: 0n,
      maxBatch: 1,
      flushing: false,
      reconnectAfterMs: undefined,
    };
    const welcomeTimer = setTimeout(() => live.call.cancel(), welcomeTimeoutMs);
    try {
      await live.call.send({ message: { case: "hello", value: this.#hello() } });
      for await (const { message } of live.call) {
        if (message.case === "welcome") {
          clearTimeout(welcomeTimer);
          await this.#welcomed(live, message.value);
        } else if (message.case === "ack") this.#acknowledge(message.value);
        else if (message.case === "directive") this.#obey(live, message.value);
        if (live.reconnectAfterMs !== undefined) break;
      }
      // Never at once: a service that asks again and again would have the device do nothing else.
      return this.#backOff.next(live.reconnectAfterMs);
    } catch (error) {
      if (end.aborted) return 0;
      if (live.reconnectAfterMs !== undefined) return this.#backOff.next(live.reconnectAfterMs);
      if (isTooLarge(error)) this.#giveUpLarge();
      return await this.#failed(error);
    } finally {
      clearTimeout(welcomeTimer);
      live.call.cancel();
      live.ended.abort();
      if (this.#live === live) {
        this.#live = undefined;
        if (!signal.aborted) onState("connecting");
      }
    }
  }

  #hello(): MessageInitShape<typeof HelloSchema> {
    const { hello, memory } = this.#options;
    return {
      ...hello(),
      deviceId: memory.state.identity?.deviceId ?? "",
      epoch: memory.state.epoch,
      lastSequence: BigInt(memory.sequence),
    };
  }

  async #welcomed(live: LiveStream, welcome: Welcome): Promise<void> {
    const { intervalMs, memory, onServerTime, onState } = this.#options;
    if (welcome.serverTime !== undefined) onServerTime(timestampDate(welcome.serverTime));
    if (welcome.epoch === memory.state.epoch && welcome.durableSequence > BigInt(memory.sequence)) {
      // The service knows sequences that this device has not given out: its counter was lost.
      await this.#renewEpoch(welcome.epoch);
      live.reconnectAfterMs = 0;
      return;
    }
    if (welcome.heartbeatJitter !== undefined && intervalMs === undefined) {
      this.#jitterMs = askedMs(welcome.heartbeatJitter);
    }
    if (welcome.heartbeatInterval !== undefined && intervalMs === undefined) {
      this.#intervalMs = Math.max(minIntervalMs, askedMs(welcome.heartbeatInterval));
    }
    this.#pulse.ring();
    this.#countAcked(welcome.durableSequence);
    live.sentThrough = welcome.durableSequence;
    live.maxBatch = Math.max(1, welcome.maxBatchSize);
    this.#live = live;
    onState("connected");
    void this.#flush(live);
  }

  /** Sends what lies above the last one sent, as long as there is something. */
  async #flush(live: LiveStream): Promise<void> {
    if (live.flushing) return;
    live.flushing = true;
    try {
      while (this.#live === live) {
        const heartbeats = this.#options.backlog.after(live.sentThrough, live.maxBatch, maxBatchBytes);
        const last = heartbeats.at(-1);
        if (last === undefined) return;
        live.sentThrough = last.sequence;
        await live.call.send({ message: { case: "batch", value: { heartbeats } } });
      }
    } finally {
      live.flushing = false;
    }
  }

  #acknowledge(ack: Ack): void {
    const { logger } = this.#options;
    for (const { sequence, field, value } of ack.leftOut)
      logger.warn({ sequence: Number(sequence), field, value }, "the service left a reading out");
    for (const { sequence, field, description } of ack.rejected) {
      this.#rejected++;
      logger.warn({ sequence: Number(sequence), field, description }, "the service refused a heartbeat");
    }
    this.#countAcked(ack.ackedThrough);
    this.#backOff.reset();
  }

  /** A heartbeat that the service cannot take must not stand in the way of all others. Only one that goes alone can be too large. */
  #giveUpLarge(): void {
    const { backlog, logger } = this.#options;
    const sequences = backlog.dropLarger(maxBatchBytes);
    this.#rejected += sequences.length;
    for (const sequence of sequences)
      logger.warn({ sequence: Number(sequence) }, "a heartbeat is too large for the service and is given up");
  }

  #countAcked(through: bigint): void {
    const { backlog } = this.#options;
    const before = backlog.size;
    backlog.acknowledge(through);
    this.#acked += before - backlog.size;
  }

  #obey(live: LiveStream, { id, action }: Directive): void {
    const { logger, onCancelUpdate, onRotateToken, onUpdateAvailable } = this.#options;
    if (id !== "") {
      if (this.#directives.includes(id)) return;
      this.#directives.push(id);
      if (this.#directives.length > maxDirectives) this.#directives.shift();
    }
    logger.debug({ directive: action.case }, "the service asks for something");
    switch (action.case) {
      case "updateAvailable":
        return onUpdateAvailable();
      case "cancelUpdate":
        return onCancelUpdate(action.value.updateId);
      case "slowDown":
        this.#minIntervalMs = askedMs(action.value.minInterval);
        return;
      case "rotateToken":
        void onRotateToken().then((rotated) => {
          if (!rotated) return;
          // The new token counts from its first use on, which is the next stream.
          live.reconnectAfterMs = 0;
          live.call.cancel();
        });
        return;
      case "reconnect":
        live.reconnectAfterMs = askedMs(action.value.after);
        return;
      case undefined:
        // A directive that this client does not know yet.
        return;
    }
  }

  async #failed(error: unknown): Promise<number> {
    const { logger, memory, onRefused, onState, random } = this.#options;
    if (!(error instanceof ClientError)) {
      logger.error({ err: error }, "the heartbeat stream broke on the device");
      return this.#backOff.next();
    }
    if (error.reason === "STREAM_SUPERSEDED") {
      logger.error({ err: error }, "another device streams under this identity");
      onState("superseded");
      return supersededPauseMs * (1 + random());
    }
    if (error.reason === "STALE_EPOCH") {
      await this.#renewEpoch(Math.max(memory.state.epoch, epochIn(error)));
      return this.#backOff.next();
    }
    const isRefused = error.code === status.UNAUTHENTICATED || error.code === status.PERMISSION_DENIED;
    if (isRefused && !error.transient) {
      logger.error({ err: error }, "the service refuses this device");
      if (await onRefused(error)) return this.#backOff.next();
      onState("refused");
      return refusedPauseMs * (1 + random());
    }
    const pauseMs = this.#backOff.next(error.retryAfterMs);
    logger.debug({ err: error, pauseMs }, "the heartbeat stream broke");
    return pauseMs;
  }

  /** Sequences go on rising: in a new epoch any start is right. */
  async #renewEpoch(lastUsed: number): Promise<void> {
    const { logger, memory } = this.#options;
    if (lastUsed >= maxEpoch) return;
    logger.warn({ epoch: lastUsed + 1 }, "the heartbeat counter was lost: a new epoch begins");
    await memory.beginEpoch(lastUsed + 1);
  }
}

/** What a service asks to wait, in milliseconds, within limits; 0 if it does not say. */
function askedMs(duration: Duration | undefined): number {
  return duration === undefined ? 0 : Math.min(Math.max(durationMs(duration), 0), maxAskedWaitMs);
}

/** The epoch that the service knows of; 0 if it does not say one, or none that a counter could reach. */
function epochIn(error: ClientError): number {
  const epoch = Number(error.metadata["epoch"] ?? 0);
  return Number.isInteger(epoch) && epoch >= 0 && epoch < maxEpoch ? epoch : 0;
}

/** Whether a message was too large for the service, or for a proxy before it, which gives no reason. */
function isTooLarge(error: unknown): boolean {
  if (!(error instanceof ClientError) || error.code !== status.RESOURCE_EXHAUSTED) return false;
  return error.reason === "MESSAGE_TOO_LARGE" || error.reason === "";
}

/** A stream that is open. */
interface LiveStream {
  readonly call: BidiCall<typeof StreamHeartbeatsRequestSchema, typeof StreamHeartbeatsResponseSchema>;
  readonly ended: AbortController;
  /** The highest sequence sent on it. */
  sentThrough: bigint;
  maxBatch: number;
  flushing: boolean;
  reconnectAfterMs: number | undefined;
}

/** `Hello.epoch` has no room for more. */
const maxEpoch = 2 ** 32 - 1;
/** How often to beat before the service has said it, in milliseconds. */
const firstIntervalMs = 30_000;
/** No service may ask for more often than this, in milliseconds. */
const minIntervalMs = 100;
/** How long the service may take to answer `hello`, in milliseconds. */
const welcomeTimeoutMs = 20_000;
/** How long a planned end waits for acknowledgements, in milliseconds. */
const goodbyeTimeoutMs = 2000;
/** Half of what a message may have: what is lost with a stream is not much, and a larger heartbeat goes alone. */
const maxBatchBytes = 1000 * 1024;
/** How many directives are remembered so that repeats do nothing. */
const maxDirectives = 64;
/** How long to leave the stream to the other device of the same identity, at least, in milliseconds. */
const supersededPauseMs = 10 * 60_000;
/** How long to wait after the service refused the credential, at least, in milliseconds. */
const refusedPauseMs = 60_000;
