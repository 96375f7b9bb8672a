import type { EventEmitter } from "node:events";
import type { AddressInfo } from "node:net";
import type { Message } from "@bufbuild/protobuf";
import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  type ServerDuplexStream,
  type ServerReadableStream,
  type sendUnaryData,
  setLogger,
} from "@grpc/grpc-js";
import type { Logger } from "pino";
import { OtaError } from "../../errors.ts";
import { Alarm } from "../../infra/alarm.ts";
import type { BackgroundWork } from "../../infra/background/work-log.ts";
import type { Call } from "../pipeline/call.ts";
import type {
  BidiStreamEndpoint,
  ClientStreamEndpoint,
  Endpoint,
  ServerStreamEndpoint,
  UnaryEndpoint,
} from "../pipeline/endpoint.ts";
import type { EndpointTable } from "../pipeline/endpoint-table.ts";
import { maxMessageBytes, methodName, type Pipeline, type Route } from "../pipeline/pipeline.ts";
import type { UnreadAnswers } from "../pipeline/unread-answers.ts";
import { GrpcAdmission } from "./grpc-admission.ts";
import { GrpcPort, type GrpcPortLimits, type GrpcPortOptions } from "./grpc-port.ts";
import {
  AnswerAtConnection,
  AnswerStream,
  isStalled,
  RequestStream,
  resetStream,
  type WritableCall,
} from "./grpc-streams.ts";
import {
  type AnyCall,
  cancelReason,
  decode,
  encode,
  headersOf,
  sameBytes,
  toGrpcError,
} from "./grpc-wire.ts";
import { libraryLog } from "./library-log.ts";

/** What the gRPC door bounds. */
export interface GrpcDoorOptions extends GrpcPortLimits {
  /** How long a reader may leave a full stream unread before it is cut. */
  readonly stallMs?: number;
}

/**
 * The gRPC door: @grpc/grpc-js, for devices and services. It moves bytes between HTTP/2 and the pipeline: requests are
 * read only after the caller is admitted, back-pressure is obeyed both ways, and an error leaves as a status with
 * google.rpc details.
 */
export class GrpcDoor implements AsyncDisposable {
  readonly #logger: Logger;
  readonly #stallMs: number;
  readonly #unread: UnreadAnswers;
  readonly #admission: GrpcAdmission;
  readonly #port: GrpcPort;
  readonly #open = new Set<Call>();
  #openStreams = 0;
  #closing: Promise<void> | undefined;

  constructor(pipeline: Pipeline, table: EndpointTable, options: GrpcDoorOptions) {
    this.#logger = pipeline.parts.logger;
    setLogger(libraryLog(this.#logger));
    this.#stallMs = options.stallMs ?? defaultStallMs;
    this.#unread = pipeline.unreadAnswers;
    const routes = new Map<string, Route>();
    for (const endpoint of table) routes.set(pathOf(endpoint), pipeline.rpc(endpoint, "grpc"));
    this.#admission = new GrpcAdmission(routes, pipeline.pendingRequests, {
      began: (call) => this.#began(call),
      admitted: (connection) => this.#port.guard.admitted(connection),
      refused: (call, { error }, session) => {
        if (error.code === "unauthenticated") this.#port.wasted(session);
        this.#end(call);
      },
    });
    const server = new Server({ ...serverOptions, interceptors: [this.#admission.interceptor] });
    for (const endpoint of table) this.#register(server, endpoint, routes.get(pathOf(endpoint)) as Route);
    this.#port = new GrpcPort(server, routes, options, pipeline);
  }

  /** How many connections are open. */
  get openConnections(): number {
    return this.#port.guard.open;
  }

  /** What goes on by itself. */
  get background(): readonly BackgroundWork[] {
    return this.#port.background;
  }

  /** Starts to listen; the address is known when it resolves. */
  async listen(options: GrpcPortOptions): Promise<AddressInfo> {
    const { address, port } = await this.#port.listen(options);
    this.#logger.info({ host: address, port, tls: options.tls !== undefined }, "gRPC door is open");
    return this.address;
  }

  /** Where it listens. */
  get address(): AddressInfo {
    return this.#port.address;
  }

  /** How many calls are open, streaming ones included. */
  get openCalls(): number {
    return this.#open.size;
  }

  /** How many streaming calls are open. */
  get openStreams(): number {
    return this.#openStreams;
  }

  /**
   * Takes no more calls, lets those that are open finish for `graceMs` (or until the signal aborts), tells the rest
   * that the service stops, and cuts what is still there. Idempotent.
   */
  close(
    options: { readonly graceMs: number; readonly signal?: AbortSignal } = { graceMs: 0 },
  ): Promise<void> {
    this.#closing ??= this.#close(options.graceMs, options.signal);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(graceMs: number, signal: AbortSignal | undefined): Promise<void> {
    const finished = this.#port.close();
    const finishedInTime = await withinMs(finished, graceMs, signal);
    if (!finishedInTime) {
      for (const call of this.#open) call.abort(shuttingDown());
      // Time for the last statuses to leave.
      await withinMs(finished, farewellMs, undefined);
    }
    await this.#port.cut();
  }

  #register(server: Server, endpoint: Endpoint, route: Route): void {
    const path = pathOf(endpoint);
    switch (endpoint.kind) {
      case "unary":
        server.register(path, this.#unary(endpoint, route), sameBytes, sameBytes, "unary");
        return;
      case "server_stream":
        server.register(path, this.#serverStream(endpoint, route), sameBytes, sameBytes, "serverStream");
        return;
      case "client_stream":
        server.register(path, this.#clientStream(endpoint, route), sameBytes, sameBytes, "clientStream");
        return;
      case "bidi_stream":
        server.register(path, this.#bidiStream(endpoint, route), sameBytes, sameBytes, "bidi");
    }
  }

  #unary(endpoint: UnaryEndpoint, route: Route): handleUnaryCall<Buffer, Buffer> {
    return (grpcCall, callback) => {
      const call = this.#take(grpcCall);
      const handle = () => {
        const message = decode(endpoint, route, call, grpcCall.request);
        return message instanceof Promise
          ? message.then((salvaged) => endpoint.handle(salvaged, call))
          : endpoint.handle(message, call);
      };
      this.#answerOnce(endpoint, route, { call, grpcCall }, handle, callback);
    };
  }

  #clientStream(endpoint: ClientStreamEndpoint, route: Route): handleClientStreamingCall<Buffer, Buffer> {
    return (grpcCall, callback) => {
      const call = this.#take(grpcCall);
      const requests = this.#requests(endpoint, route, call, grpcCall);
      const handle = () => {
        grpcCall.sendMetadata(headersOf(call));
        return endpoint.handle(requests, call);
      };
      this.#answerOnce(endpoint, route, { call, grpcCall }, handle, (error, answer, trailers) => {
        void requests.return();
        callback(error, answer, trailers);
      });
    };
  }

  #serverStream(endpoint: ServerStreamEndpoint, route: Route): handleServerStreamingCall<Buffer, Buffer> {
    return (grpcCall) => {
      const call = this.#take(grpcCall);
      void this.#answerMany(endpoint, route, call, grpcCall, async () =>
        endpoint.handle(await decode(endpoint, route, call, grpcCall.request), call),
      );
    };
  }

  #bidiStream(endpoint: BidiStreamEndpoint, route: Route): handleBidiStreamingCall<Buffer, Buffer> {
    return (grpcCall) => {
      const call = this.#take(grpcCall);
      const requests = this.#requests(endpoint, route, call, grpcCall);
      void this.#answerMany(endpoint, route, call, grpcCall, () => endpoint.handle(requests, call)).finally(
        () => void requests.return(),
      );
    };
  }

  #began(call: Call): void {
    this.#open.add(call);
    if (call.streaming) this.#openStreams++;
  }

  /** Takes over a call that was admitted. */
  #take(grpcCall: AnyCall): Call {
    const call = this.#admission.take(grpcCall);
    const events: EventEmitter = grpcCall;
    events.on("cancelled", () => {
      // Also emitted after a call that ended well.
      if (!call.finished) call.abort(cancelReason(grpcCall));
    });
    return call;
  }

  #end(call: Call): void {
    if (!this.#open.delete(call)) return;
    if (call.streaming) this.#openStreams--;
  }

  #requests(
    endpoint: Endpoint,
    route: Route,
    call: Call,
    grpcCall: ServerReadableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>,
  ): RequestStream<Message> {
    const requests = new RequestStream(grpcCall, {
      accept: (bytes) => decode(endpoint, route, call, bytes),
      onMessages: (count) => route.countMessages(count, 0),
      onCut: () => call.abort(cancelReason(grpcCall)),
    });
    call.onAbort((reason) => requests.fail(reason));
    return requests;
  }

  /** Leads a call with a single answer through the pipeline, without a promise hop of its own. */
  #answerOnce(
    endpoint: UnaryEndpoint | ClientStreamEndpoint,
    route: Route,
    { call, grpcCall }: { readonly call: Call; readonly grpcCall: AnyCall },
    handle: () => Promise<object>,
    callback: sendUnaryData<Buffer>,
  ): void {
    const fail = (error: unknown) => {
      callback(toGrpcError(route.fail(call, error), call));
      this.#end(call);
    };
    const succeed = (answer: object) => {
      if (call.abortReason !== undefined) return fail(call.abortReason);
      let bytes: Buffer;
      try {
        bytes = encode(endpoint, answer);
        this.#unread.hand(call, new AnswerAtConnection(grpcCall, bytes.length));
      } catch (error) {
        return fail(error);
      }
      // An answer that went well is traced only by those who asked to: the trailer costs a device on a metered link
      // as much as the rest of a small answer.
      callback(null, bytes, call.isNamed && !call.streaming ? headersOf(call) : undefined);
      route.succeed(call);
      this.#end(call);
    };
    try {
      handle().then(succeed, fail);
    } catch (error) {
      fail(error);
    }
  }

  /** Leads a call with many answers through the pipeline. */
  async #answerMany(
    endpoint: ServerStreamEndpoint | BidiStreamEndpoint,
    route: Route,
    call: Call,
    grpcCall: WritableCall,
    handle: () => AsyncIterable<object> | Promise<AsyncIterable<object>>,
  ): Promise<void> {
    const answers = new AnswerStream(grpcCall, this.#stallMs, (count) => route.countMessages(0, count));
    call.onAbort((reason) => answers.close(reason));
    const { inPlace } = endpoint.options;
    try {
      // At once, so that a client knows that it is served before the first message comes.
      grpcCall.sendMetadata(headersOf(call));
      // Leaving the loop early, by whatever way, returns the handler's generator.
      for await (const answer of await handle()) {
        if (call.abortReason !== undefined) throw call.abortReason;
        const frame = inPlace?.frame(answer);
        const room =
          frame === undefined
            ? answers.write(encode(endpoint, answer))
            : answers.writeFrame(frame, () => inPlace?.sent(answer));
        if (room !== undefined) await room;
      }
      if (call.abortReason !== undefined) throw call.abortReason;
      grpcCall.end();
      this.#unread.hand(call, new AnswerAtConnection(grpcCall, 0));
      route.succeed(call);
    } catch (error) {
      grpcCall.emit("error", toGrpcError(route.fail(call, error), call));
      if (isStalled(error)) resetStream(grpcCall);
    } finally {
      answers.close(undefined);
      this.#end(call);
    }
  }
}

function pathOf(endpoint: Endpoint): string {
  return `/${methodName(endpoint)}`;
}

const serverOptions = {
  "grpc.max_receive_message_length": maxMessageBytes,
  // Node's default is no limit; a device needs two or three, a gateway or a console some dozens.
  "grpc.max_concurrent_streams": 128,
  // Finds dead devices behind silent NATs before their streams pile up.
  "grpc.keepalive_time_ms": 120_000,
  "grpc.keepalive_timeout_ms": 20_000,
  "grpc.max_connection_idle_ms": 300_000,
  // Spreads devices anew over replicas now and then.
  "grpc.max_connection_age_ms": 6 * 60 * 60 * 1_000,
  "grpc.max_connection_age_grace_ms": 10 * 60 * 1_000,
  // Leaks memory with many short connections (grpc-node issue 2068), and its figures are in the metrics.
  "grpc.enable_channelz": 0,
};

const defaultStallMs = 60_000;

const farewellMs = 500;

function shuttingDown(): OtaError {
  return new OtaError("unavailable", "SHUTTING_DOWN", "the service is stopping; connect again", {
    retryAfterMs: 1_000,
  });
}

/** Whether `work` finished within the time and before the signal aborted. */
async function withinMs(work: Promise<void>, ms: number, signal: AbortSignal | undefined): Promise<boolean> {
  const timeUp = new AbortController();
  const signals = signal === undefined ? timeUp.signal : AbortSignal.any([timeUp.signal, signal]);
  const outOfTime = new Alarm().wait(ms, signals);
  const finished = await Promise.race([work.then(() => true), outOfTime.then(() => false)]);
  timeUp.abort();
  return finished;
}
