import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import {
  type StreamHeartbeatsRequest,
  StreamHeartbeatsRequestSchema,
  type StreamHeartbeatsResponse,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import type { CallContext } from "../../src/api/pipeline/endpoint.ts";
import { ByteBudgets } from "../../src/heartbeat/heartbeat-bytes.ts";
import { HeartbeatStreams } from "../../src/heartbeat/heartbeat-streams.ts";
import { type ConsumeRate, HeartbeatStreamHandler } from "../../src/heartbeat/stream-handlers.ts";
import type { StreamHello } from "../../src/heartbeat/stream-hello.ts";
import { StreamOpenings } from "../../src/heartbeat/stream-openings.ts";
import type { Clock } from "../../src/infra/clock.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { sessionOn } from "../../src/infra/database/session.ts";
import { type IngestFixture, type IngestOptions, silent, startIngest } from "./heartbeat-fixture.ts";

/** Streams on one replica. */
export interface StreamFixture extends IngestFixture {
  readonly streams: HeartbeatStreams;
  /** The hellos that observers were told of. */
  readonly hellos: StreamHello[];
  /** Opens a stream as a device, without a hello. */
  connect(deviceId: string): DeviceStream;
}

export async function startStreams(
  options: IngestOptions & { maxStreams?: number; consumeRate?: ConsumeRate; clock?: Clock } = {},
): Promise<StreamFixture> {
  const fixture = await startIngest(options);
  const streams = new HeartbeatStreams({ maxStreams: options.maxStreams ?? 100 });
  const hellos: StreamHello[] = [];
  const handler = new HeartbeatStreamHandler({
    ingest: fixture.ingest,
    faults: fixture.faults,
    streams,
    openings: new StreamOpenings(sessionOn(fixture.pool)),
    boots: { sighted: () => undefined },
    observers: [{ streamOpened: (hello) => hellos.push(hello) }],
    budgets: new ByteBudgets(undefined, options.clock ?? systemClock),
    consumeRate: options.consumeRate ?? (() => ({ ok: true })),
    clock: options.clock ?? systemClock,
    logger: silent,
    heartbeatIntervalMs: 30_000,
    heartbeatJitterMs: 3_000,
  });
  const open: DeviceStream[] = [];
  return {
    ...fixture,
    streams,
    hellos,
    connect(deviceId) {
      const stream = new DeviceStream(handler, deviceId);
      open.push(stream);
      return stream;
    },
    async [Symbol.asyncDispose]() {
      for (const stream of open) stream.cut();
      await fixture[Symbol.asyncDispose]();
    },
  };
}

type Message = MessageInitShape<typeof StreamHeartbeatsRequestSchema>["message"];

/** The device's end of a stream, in memory. */
class DeviceStream {
  readonly deviceId: string;
  readonly #inbox = new Inbox<StreamHeartbeatsRequest>();
  readonly #abort = new AbortController();
  readonly #answers: AsyncIterator<StreamHeartbeatsResponse, unknown>;

  constructor(handler: HeartbeatStreamHandler, deviceId: string) {
    this.deviceId = deviceId;
    const context: CallContext = {
      identity: { kind: "device", deviceId, credentialId: "c" },
      requestId: "r",
      signal: this.#abort.signal,
      peer: "127.0.0.1",
      door: "grpc",
      logger: silent,
      lasts: () => undefined,
      waited: () => undefined,
    };
    this.#answers = handler.handle(this.#inbox, context)[Symbol.asyncIterator]();
  }

  /** Messages that the service has not pulled. */
  get unread(): number {
    return this.#inbox.length;
  }

  hello(
    more: { epoch?: number; lastSequence?: bigint; firmwareVersion?: string; bootId?: string } = {},
  ): void {
    this.send({
      case: "hello",
      value: { deviceId: this.deviceId, bootId: "boot-1", firmwareVersion: "1.0.0", ...more },
    });
  }

  /** One message with these heartbeats. */
  beat(...heartbeats: (number | MessageInitShape<typeof HeartbeatSchema>)[]): void {
    const list = heartbeats.map((beat) =>
      create(HeartbeatSchema, typeof beat === "number" ? { sequence: BigInt(beat) } : beat),
    );
    this.send({ case: "batch", value: { heartbeats: list } });
  }

  goodbye(): void {
    this.send({ case: "goodbye", value: { reason: "sleep" } });
  }

  send(message: NonNullable<Message>): void {
    this.#inbox.push(create(StreamHeartbeatsRequestSchema, { message }));
  }

  /** Half-closes, as a client does that has nothing more to say. */
  end(): void {
    this.#inbox.end();
  }

  /** Cuts the connection. */
  cut(): void {
    this.#abort.abort(new Error("cut"));
    this.#inbox.fail(new Error("cut"));
  }

  /** The next answer; undefined at a good end. Rejects with the error that the stream ends with. */
  async next(): Promise<StreamHeartbeatsResponse["message"] | undefined> {
    const { done, value } = await this.#answers.next();
    return done === true ? undefined : value.message;
  }

  /** Says hello and reads the welcome. */
  async open(more: Parameters<DeviceStream["hello"]>[0] = {}): Promise<bigint> {
    this.hello(more);
    const welcome = await this.next();
    if (welcome?.case !== "welcome") throw new Error(`expected a welcome, got ${welcome?.case}`);
    return welcome.value.durableSequence;
  }

  /** Reads until everything up to a sequence is acknowledged. */
  async ackOf(sequence: number): Promise<{ rejected: Named[]; leftOut: Named[] }> {
    const rejected: Named[] = [];
    const leftOut: Named[] = [];
    for (;;) {
      const answer = await this.next();
      if (answer?.case !== "ack") throw new Error(`expected an ack, got ${answer?.case}`);
      rejected.push(...answer.value.rejected);
      leftOut.push(...answer.value.leftOut);
      if (answer.value.ackedThrough >= BigInt(sequence)) return { rejected, leftOut };
    }
  }
}

/** What an ack says of a heartbeat. */
interface Named {
  readonly sequence: bigint;
  readonly field: string;
}

/** What a client sent, to be pulled one by one. */
class Inbox<T> implements AsyncIterableIterator<T> {
  readonly #items: T[] = [];
  #waiting: PromiseWithResolvers<IteratorResult<T>> | undefined;
  #end: { error?: Error } | undefined;

  get length(): number {
    return this.#items.length;
  }

  push(item: T): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#items.push(item);
    else waiting.resolve({ done: false, value: item });
  }

  end(): void {
    this.#end ??= {};
    this.#waiting?.resolve({ done: true, value: undefined });
  }

  fail(error: Error): void {
    this.#end ??= { error };
    this.#items.length = 0;
    this.#waiting?.reject(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve({ done: false, value: item });
    if (this.#end?.error !== undefined) return Promise.reject(this.#end.error);
    if (this.#end !== undefined) return Promise.resolve({ done: true, value: undefined });
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  return(): Promise<IteratorResult<T>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }
}
