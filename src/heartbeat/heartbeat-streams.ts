import { v7 as uuidv7 } from "uuid";
import { OtaError } from "../errors.ts";
import { Alarm } from "../infra/alarm.ts";
import type { DirectiveSender } from "../rollout/offer/directives.ts";
import { superseded } from "./device-refusals.ts";
import type { DirectiveAction } from "./directive.ts";
import type { StreamSession } from "./stream-session.ts";

/** How to empty a replica. */
export interface DrainOptions {
  /** Streams told to go away per second: about what the others can take in. */
  readonly ratePerSecond: number;
  /** Devices wait a random time up to this before they reconnect. */
  readonly reconnectWithinMs: number;
  /** Ends what is still open then, with UNAVAILABLE. */
  readonly signal: AbortSignal;
}

/** The heartbeat streams that are open to this replica, one a device: the newest wins. */
export class HeartbeatStreams implements DirectiveSender {
  readonly #sessions = new Map<string, StreamSession>();
  readonly #maxStreams: number;
  #opening = 0;
  #isDraining = false;
  #empty: PromiseWithResolvers<void> | undefined;

  /** `maxStreams` bounds the replica's memory: an idle stream takes some 40 KB, most of it in the transport. */
  constructor(options: { readonly maxStreams: number }) {
    this.#maxStreams = options.maxStreams;
  }

  /** Open streams. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Whether a device holds a stream here. */
  has(deviceId: string): boolean {
    return this.#sessions.has(deviceId);
  }

  /** The devices that hold a stream here. */
  connectedDevices(): Iterable<string> {
    return this.#sessions.keys();
  }

  /**
   * Reserves a place for a stream that says hello; the caller must call `done` when the stream is added or given up.
   * Throws TOO_MANY_STREAMS, or SHUTTING_DOWN.
   */
  reserve(deviceId: string): { done(): void } {
    if (this.#isDraining) throw shuttingDown();
    const isFull = this.#sessions.size + this.#opening >= this.#maxStreams;
    // A device that returns before its old stream was noticed to be dead takes that one's place.
    if (isFull && !this.#sessions.has(deviceId)) throw tooManyStreams();
    this.#opening++;
    let isDone = false;
    return {
      done: () => {
        if (!isDone) this.#opening--;
        isDone = true;
      },
    };
  }

  /** Adds a stream and ends the device's older one. Throws STREAM_SUPERSEDED if this one is the older. */
  add(session: StreamSession): void {
    if (this.#isDraining) throw shuttingDown();
    const other = this.#sessions.get(session.deviceId);
    if (other !== undefined) {
      if (other.generation > session.generation) throw superseded(session.deviceId);
      other.fail(superseded(session.deviceId));
    }
    this.#sessions.set(session.deviceId, session);
  }

  /** Forgets a stream that ended, unless another one of its device has taken its place. */
  remove(session: StreamSession): void {
    if (this.#sessions.get(session.deviceId) === session) this.#sessions.delete(session.deviceId);
    if (this.#sessions.size === 0) this.#empty?.resolve();
  }

  /** Sends a directive to a device; false if it holds no stream here. */
  send(deviceId: string, action: DirectiveAction): boolean {
    const session = this.#sessions.get(deviceId);
    if (session === undefined || session.isEnding) return false;
    session.direct({ id: uuidv7(), ...action });
    return true;
  }

  updateAvailable(deviceId: string, rolloutId: string): boolean {
    return this.send(deviceId, { kind: "update_available", rolloutId });
  }

  cancelUpdate(deviceId: string, updateId: string, reason: string): boolean {
    return this.send(deviceId, { kind: "cancel_update", updateId, reason });
  }

  /** Ends a device's stream with an error, for example because its credential was revoked; false if it has none here. */
  disconnect(deviceId: string, error: OtaError): boolean {
    const session = this.#sessions.get(deviceId);
    session?.fail(error);
    return session !== undefined;
  }

  /**
   * Takes no more streams and sends the open ones away, some at a time: each is told to reconnect, gets its last ack
   * and ends. Resolves when none is left.
   */
  async drain({ ratePerSecond, reconnectWithinMs, signal }: DrainOptions): Promise<void> {
    this.#isDraining = true;
    this.#empty = Promise.withResolvers();
    if (this.#sessions.size === 0) this.#empty.resolve();
    const abandon = (): void => {
      for (const session of this.#sessions.values()) session.fail(shuttingDown());
    };
    signal.addEventListener("abort", abandon, { once: true });
    try {
      const perTick = Math.max(1, Math.round((ratePerSecond * drainTickMs) / 1_000));
      let inTick = 0;
      for (const session of this.#sessions.values()) {
        if (signal.aborted) break;
        this.send(session.deviceId, {
          kind: "reconnect",
          afterMs: Math.round(Math.random() * reconnectWithinMs),
          reason: "the service is stopping",
        });
        session.finish();
        if (++inTick < perTick) continue;
        inTick = 0;
        await new Alarm().wait(drainTickMs, signal);
      }
      if (signal.aborted) abandon();
      await this.#empty.promise;
    } finally {
      signal.removeEventListener("abort", abandon);
    }
  }
}

const drainTickMs = 50;

function shuttingDown(): OtaError {
  return new OtaError(
    "unavailable",
    "SHUTTING_DOWN",
    "the service is stopping; reconnect to another replica",
    {
      retryAfterMs: 1_000,
    },
  );
}

function tooManyStreams(): OtaError {
  return new OtaError(
    "resource_exhausted",
    "TOO_MANY_STREAMS",
    "this replica holds as many streams as it may",
    {
      retryAfterMs: 30_000,
    },
  );
}
