import type { Writable } from "node:stream";
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type ChannelCredentials,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  credentials,
  Client as GrpcClient,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { isLoopback } from "../loopback.ts";
import { clientErrorFrom } from "./client-error.ts";
import { type TokenSource, tokensFrom } from "./token-source.ts";

/** The largest message that the service sends or takes, in bytes. */
const maxMessageBytes = 2 * 1024 * 1024;

/** How often an idle connection is probed. Below 60 s, proxies that enforce a minimum close the connection. */
const keepaliveIntervalMs = 75_000;

/** How long an unanswered probe may take before the connection counts as dead. */
const keepaliveTimeoutMs = 20_000;

/** The longest rest between two attempts to connect, in milliseconds. */
const maxReconnectPauseMs = 10_000;

/** How to reach the service, and as whom. */
export interface RpcClientOptions {
  /** Host and port of the gRPC door, for example `127.0.0.1:50051`. */
  readonly address: string;
  /** The bearer token to send, or where it comes from; undefined for calls that need none. */
  readonly token?: string | TokenSource | undefined;
  /** TLS credentials, or `createInsecure()` for plaintext, which is meant if they are left out on this machine alone. */
  readonly channelCredentials?: ChannelCredentials | undefined;
  /**
   * Whether this client has a connection of its own instead of sharing the process's connection to the address.
   * Simulated devices do, as real ones would. Default false.
   */
  readonly ownConnection?: boolean;
  /** How the client names itself. */
  readonly userAgent?: string;
}

/** Limits of one call. */
export interface CallOptions {
  /** Ends the call early. */
  readonly signal?: AbortSignal;
  /** How long the whole call may take, in milliseconds. Long streams have none. */
  readonly timeoutMs?: number;
}

/** A stream both ways: write with `send`, read by iterating, end with `finish` (half-close) or `cancel`. */
export interface BidiCall<I extends DescMessage, O extends DescMessage>
  extends AsyncIterable<MessageShape<O>> {
  /** Writes a message; resolves when the transport wants more, so that memory stays bounded. */
  send(message: MessageInitShape<I>): Promise<void>;
  /** Says that no more messages will be sent. */
  finish(): void;
  /** Ends the call at once. */
  cancel(): void;
}

/**
 * A gRPC client for any service of the contract, made from the generated descriptors, so that a new RPC needs no new
 * client code. Failures are {@link ClientError}s.
 */
export class RpcClient implements Disposable {
  readonly #client: GrpcClient;
  readonly #token: string | undefined;

  /** Throws if it would reach another machine in clear without having been told so. */
  constructor(options: RpcClientOptions) {
    const { address, channelCredentials, token } = options;
    if (channelCredentials === undefined && !isLoopback(address.replace(/:\d+$/, ""))) {
      throw new Error(
        `${address} is another machine: give TLS credentials, or createInsecure() if you mean it`,
      );
    }
    this.#token = typeof token === "string" ? token : undefined;
    this.#client = new GrpcClient(
      address,
      channelCredentials ?? credentials.createInsecure(),
      channelOptions(options),
    );
  }

  /** Calls a unary method. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        pathOf(method),
        encoderOf(method.input),
        decoderOf(method.output),
        create(method.input, request),
        this.#metadata(),
        deadline(options),
        (error: ServiceError | null, response?: MessageShape<O>) => {
          unlink();
          if (error !== null) reject(clientErrorFrom(error));
          else if (response !== undefined) resolve(response);
        },
      );
      const unlink = linkSignal(options.signal, () => call.cancel());
    });
  }

  /** Calls a method that answers with a stream; leaving the loop ends the call. */
  async *serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): AsyncGenerator<MessageShape<O>> {
    const call = this.#client.makeServerStreamRequest(
      pathOf(method),
      encoderOf(method.input),
      decoderOf(method.output),
      create(method.input, request),
      this.#metadata(),
      deadline(options),
    );
    const unlink = linkSignal(options.signal, () => call.cancel());
    try {
      yield* responsesOf<MessageShape<O>>(call);
    } finally {
      unlink();
      call.cancel();
    }
  }

  /** Calls a method that takes a stream; back-pressure of the transport slows `requests` down. */
  clientStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodClientStreaming<I, O>,
    requests: AsyncIterable<MessageInitShape<I>>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      let settled = false;
      const call = this.#client.makeClientStreamRequest(
        pathOf(method),
        encoderOf(method.input),
        decoderOf(method.output),
        this.#metadata(),
        deadline(options),
        (error: ServiceError | null, response?: MessageShape<O>) => {
          settled = true;
          unlink();
          if (error !== null) reject(clientErrorFrom(error));
          else if (response !== undefined) resolve(response);
        },
      );
      const unlink = linkSignal(options.signal, () => call.cancel());
      const pump = async () => {
        for await (const request of requests) {
          if (settled) return;
          await write(call, create(method.input, request));
        }
        call.end();
      };
      pump().catch((error: unknown) => {
        if (settled) return;
        settled = true;
        unlink();
        call.cancel();
        reject(error instanceof Error ? error : new Error(String(error)));
      });
    });
  }

  /** Opens a stream both ways. */
  bidi<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    options: CallOptions = {},
  ): BidiCall<I, O> {
    const call: ClientDuplexStream<MessageShape<I>, MessageShape<O>> = this.#client.makeBidiStreamRequest(
      pathOf(method),
      encoderOf(method.input),
      decoderOf(method.output),
      this.#metadata(),
      deadline(options),
    );
    const unlink = linkSignal(options.signal, () => call.cancel());
    call.once("close", unlink);
    // The reader gets the failure from the iterator; without a listener a failure before the first read would throw.
    call.on("error", () => undefined);
    return {
      send: (message) => write(call, create(method.input, message)),
      finish: () => call.end(),
      cancel: () => call.cancel(),
      [Symbol.asyncIterator]: () => responsesOf<MessageShape<O>>(call),
    };
  }

  /** Closes the connection; calls under way end with CANCELLED. */
  close(): void {
    this.#client.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #metadata(): Metadata {
    const metadata = new Metadata();
    if (this.#token !== undefined) metadata.set("authorization", `Bearer ${this.#token}`);
    return metadata;
  }
}

function channelOptions(options: RpcClientOptions): ClientOptions {
  return {
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.keepalive_time_ms": keepaliveIntervalMs,
    "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
    // A transparent retry keeps every sent message of a stream in memory (grpc/grpc-node#2371); callers resend.
    "grpc.enable_retries": 0,
    // Callers wait with jitter themselves; left alone, a connection would rest for up to 120 s after an outage.
    "grpc.initial_reconnect_backoff_ms": 250,
    "grpc.max_reconnect_backoff_ms": maxReconnectPauseMs,
    // Channelz keeps records of every call (grpc/grpc-node#2068).
    "grpc.enable_channelz": 0,
    ...(typeof options.token === "object" ? { interceptors: [tokensFrom(options.token)] } : {}),
    ...(options.ownConnection === true ? { "grpc.use_local_subchannel_pool": 1 } : {}),
    ...(options.userAgent === undefined ? {} : { "grpc.primary_user_agent": options.userAgent }),
  };
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function encoderOf<T extends DescMessage>(schema: T): (message: MessageShape<T>) => Buffer {
  return (message) => {
    const bytes = toBinary(schema, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

function decoderOf<T extends DescMessage>(schema: T): (bytes: Buffer) => MessageShape<T> {
  return (bytes) => fromBinary(schema, bytes);
}

function deadline(options: CallOptions): { deadline?: Date } {
  return options.timeoutMs === undefined ? {} : { deadline: new Date(Date.now() + options.timeoutMs) };
}

/** Runs `cancel` when the signal aborts; the returned function forgets about it. */
function linkSignal(signal: AbortSignal | undefined, cancel: () => void): () => void {
  if (signal === undefined) return () => undefined;
  if (signal.aborted) {
    // The call's own listeners are attached only after this turn.
    queueMicrotask(cancel);
    return () => undefined;
  }
  signal.addEventListener("abort", cancel, { once: true });
  return () => signal.removeEventListener("abort", cancel);
}

async function* responsesOf<T>(call: ClientReadableStream<T>): AsyncGenerator<T> {
  try {
    for await (const message of call) yield message as T;
  } catch (error) {
    throw clientErrorFrom(error);
  }
}

/** Writes one message and waits until the transport's buffer has room, or the call is over. */
function write<T>(call: Writable, message: T): Promise<void> {
  // A write to a call that is over is dropped without any event; the reader learns why it is over.
  if (call.destroyed || call.writableEnded || call.write(message)) return Promise.resolve();
  return new Promise((resolve) => {
    const events = ["drain", "status", "error", "close"];
    const done = () => {
      for (const event of events) call.off(event, done);
      resolve();
    };
    for (const event of events) call.once(event, done);
  });
}
