import type { EventEmitter } from "node:events";
import { constants, type ServerHttp2Stream } from "node:http2";
import type { ServerDuplexStream, ServerReadableStream, ServerWritableStream } from "@grpc/grpc-js";
import { OtaError } from "../../errors.ts";
import type { HandedAnswer } from "../pipeline/unread-answers.ts";
import type { AnyCall } from "./grpc-wire.ts";

/** The request side of a gRPC stream. */
export type ReadableCall = ServerReadableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>;

/** The answer side of a gRPC stream. */
export type WritableCall = ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>;

/** Whom a {@link RequestStream} serves. */
export interface RequestStreamOwner<T> {
  /** Decodes and checks a message, at once if it can; may throw. */
  accept(bytes: Buffer): T | Promise<T>;
  /** Is told of sums of messages now and then. */
  onMessages(count: number): void;
  /** Is told when the client broke the stream off; calls {@link RequestStream.fail}. */
  onCut(): void;
}

/**
 * A request stream that hands out one message a pull and holds the client back when nobody pulls: it pauses the call,
 * grpc-js then stops reading, and HTTP/2 flow control stops the sender. Node's own iterator over a Readable costs
 * several microseconds a message, more than everything else that the service does to it.
 *
 * Messages are decoded when they are pulled, so that what waits here is counted in bytes as they came.
 */
export class RequestStream<T> implements AsyncIterableIterator<T> {
  readonly #call: ReadableCall;
  readonly #owner: RequestStreamOwner<T>;
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;
  #waiting:
    | {
        resolve: (result: IteratorResult<T> | Promise<IteratorResult<T>>) => void;
        reject: (error: unknown) => void;
      }
    | undefined;
  #state: "idle" | "flowing" | "paused" | "ended" = "idle";
  #failure: { readonly error: unknown } | undefined;
  #uncounted = 0;

  constructor(call: ReadableCall, owner: RequestStreamOwner<T>) {
    this.#call = call;
    this.#owner = owner;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#state === "idle") this.#start();
    const bytes = this.#queue.shift();
    if (bytes !== undefined) {
      this.#queuedBytes -= bytes.length;
      return this.#accepted(bytes);
    }
    if (this.#failure !== undefined) return rejected(this.#failure.error);
    if (this.#state === "ended") return Promise.resolve({ done: true, value: undefined });
    if (this.#state === "paused") {
      this.#state = "flowing";
      this.#call.resume();
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** Called when the handler has read enough: what still comes is dropped. */
  return(): Promise<IteratorResult<T>> {
    this.fail(undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends the stream for its reader with an error (or, without one, quietly) and drops what was not read. */
  fail(error: unknown): void {
    if (this.#failure === undefined && error !== undefined) this.#failure = { error };
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#end();
  }

  #start(): void {
    this.#state = "flowing";
    this.#call.on("data", this.#onData);
    this.#call.on("end", this.#onEnd);
  }

  readonly #onData = (bytes: Buffer): void => {
    if (this.#state === "ended") return;
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      try {
        waiting.resolve(this.#take(bytes));
      } catch (error) {
        waiting.reject(error);
      }
      return;
    }
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    const isFull = this.#queue.length >= maxQueuedMessages || this.#queuedBytes >= maxQueuedBytes;
    if (isFull && this.#state === "flowing") {
      this.#state = "paused";
      this.#call.pause();
    }
  };

  readonly #onEnd = (): void => {
    // A stream that broke off ends like one that the client finished, some ticks before grpc-js says so.
    if (rawStream(this.#call)?.aborted === true) this.#owner.onCut();
    this.#end();
  };

  #end(): void {
    this.#state = "ended";
    this.#call.off("data", this.#onData);
    this.#call.off("end", this.#onEnd);
    this.#report();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (this.#failure !== undefined) waiting?.reject(this.#failure.error);
    else waiting?.resolve({ done: true, value: undefined });
  }

  #accepted(bytes: Buffer): Promise<IteratorResult<T>> {
    try {
      return Promise.resolve(this.#take(bytes));
    } catch (error) {
      return rejected(error);
    }
  }

  #take(bytes: Buffer): IteratorResult<T> | Promise<IteratorResult<T>> {
    if (++this.#uncounted === messagesPerReport) this.#report();
    const value = this.#owner.accept(bytes);
    if (value instanceof Promise) return value.then((accepted) => ({ done: false, value: accepted }));
    return { done: false, value };
  }

  #report(): void {
    if (this.#uncounted > 0) this.#owner.onMessages(this.#uncounted);
    this.#uncounted = 0;
  }
}

/** The answer side of a stream: writes, and tells when to wait so that a slow reader costs bounded memory. */
export class AnswerStream {
  readonly #call: WritableCall;
  readonly #stallMs: number;
  readonly #onMessages: (count: number) => void;
  #largeBytes = 0;
  #waiting: { resolve: () => void; reject: (error: unknown) => void; isDone: () => boolean } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #uncounted = 0;

  /** `stallMs` is how long a reader may leave a full stream unread before the call is given up. */
  constructor(call: WritableCall, stallMs: number, onMessages: (count: number) => void) {
    this.#call = call;
    this.#stallMs = stallMs;
    this.#onMessages = onMessages;
    call.on("drain", this.#onProgress);
  }

  /** Writes a message. A promise means: wait for it before the next one. It rejects if the reader stalls or goes away. */
  write(bytes: Buffer): Promise<void> | undefined {
    this.#count();
    if (bytes.length < largeMessageBytes) {
      if (this.#call.write(bytes)) return undefined;
      return this.#wait(() => !this.#call.writableNeedDrain);
    }
    this.#call.write(bytes, this.#watched(bytes.length));
    return this.#roomForLarge();
  }

  /**
   * The same for a message that is framed already, which spares the copy that grpc-js makes into memory of its own.
   * `onSent` runs when the bytes have left and may be overwritten; never if they do not get through.
   */
  writeFrame(frame: Buffer, onSent: () => void): Promise<void> | undefined {
    this.#count();
    const onWritten = this.#watched(frame.length, onSent);
    const stream = rawStream(this.#call);
    if (stream === undefined || this.#call.writableLength > 0) {
      // What grpc-js still holds back must go first; once it holds nothing, frames go past it.
      this.#call.write(frame.subarray(frameHeaderBytes), onWritten);
      return this.#wait(() => this.#call.writableLength === 0);
    }
    if (!stream.destroyed && !stream.writableEnded) {
      stream.write(frame, onWritten);
    }
    return this.#roomForLarge();
  }

  /** Ends a wait that is going on; call it when the call is over. */
  close(error: unknown): void {
    this.#call.off("drain", this.#onProgress);
    this.#report();
    this.#settle(error);
  }

  /** Counts a large message as unsent, and gives what to call when it was sent. */
  #watched(length: number, onSent?: () => void): (error?: unknown) => void {
    this.#largeBytes += length;
    return (error) => {
      this.#largeBytes -= length;
      if (error === undefined || error === null) onSent?.();
      this.#onProgress();
    };
  }

  #roomForLarge(): Promise<void> | undefined {
    const hasRoom = () => this.#largeBytes < maxUnsentBytes && !this.#call.writableNeedDrain;
    return hasRoom() ? undefined : this.#wait(hasRoom);
  }

  #wait(isDone: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject, isDone };
      this.#timer = setTimeout(() => this.#settle(stalled(this.#stallMs)), this.#stallMs);
      this.#timer.unref();
    });
  }

  readonly #onProgress = (): void => {
    if (this.#waiting?.isDone() === true) this.#settle(undefined);
  };

  #settle(error: unknown): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    clearTimeout(this.#timer);
    if (error === undefined) waiting.resolve();
    else waiting.reject(error);
  }

  #count(): void {
    if (++this.#uncounted === messagesPerReport) this.#report();
  }

  #report(): void {
    if (this.#uncounted > 0) this.#onMessages(this.#uncounted);
    this.#uncounted = 0;
  }
}

/** Whether a call failed because its reader left a full stream unread. */
export function isStalled(error: unknown): boolean {
  return error instanceof OtaError && error.metadata["stalled"] === "true";
}

/** The whole answer of a call, or the end of one, that was handed to its connection. */
export class AnswerAtConnection implements HandedAnswer {
  readonly bytes: number;
  readonly #call: AnyCall;

  constructor(call: AnyCall, bytes: number) {
    this.#call = call;
    this.bytes = bytes;
  }

  get isOver(): boolean {
    return rawStream(this.#call)?.closed !== false;
  }

  onOver(listener: () => void): void {
    // Emitted when the last of it was sent, too.
    (this.#call as EventEmitter).once("cancelled", listener);
  }

  cut(): void {
    resetStream(this.#call);
  }
}

/**
 * Takes a stream away from a client that does not read: the status would wait for ever behind the answers that are not
 * read.
 */
export function resetStream(call: AnyCall): void {
  rawStream(call)?.close(constants.NGHTTP2_CANCEL);
}

/** The HTTP/2 stream under a call. grpc-js has no public way to it; tests watch that this one works. */
function rawStream(call: AnyCall): ServerHttp2Stream | undefined {
  return (call as unknown as { call?: { stream?: ServerHttp2Stream } }).call?.stream;
}

/**
 * Messages that wait while the handler is busy. Enough that a burst in one DATA frame causes no pause and resume
 * (about 1 us each); grpc-js itself holds 16 more.
 */
const maxQueuedMessages = 16;

/** The same in bytes: large messages (upload chunks) wait at the sender instead. */
const maxQueuedBytes = 256 * 1024;

/** A gRPC message's prefix: whether it is compressed, and its length. */
const frameHeaderBytes = 5;

/** From this size on a message is watched until it is sent: Node's stream counts 16 messages, whatever their size. */
const largeMessageBytes = 16 * 1024;

/** The most that a slow reader of large messages (a download) holds in memory. */
const maxUnsentBytes = 1024 * 1024;

const messagesPerReport = 64;

function stalled(stallMs: number): OtaError {
  return new OtaError(
    "aborted",
    "CANCELLED",
    `the client did not read its answers for ${stallMs / 1_000} s`,
    {
      metadata: { stalled: "true" },
    },
  );
}

function rejected(error: unknown): Promise<never> {
  return Promise.reject(error);
}
