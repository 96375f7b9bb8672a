import type { Message } from "@bufbuild/protobuf";
import { encodeEnvelope, pipe, readAllBytes, transformSplitEnvelope } from "@connectrpc/connect/protocol";
import type { FastifyRequest } from "fastify";
import { OtaError } from "../../errors.ts";
import type { Endpoint } from "../pipeline/endpoint.ts";
import { maxMessageBytes } from "../pipeline/pipeline.ts";
import { jsonFromBody, messageFromBinary, messageFromJson } from "../pipeline/request-reading.ts";

/** The messages of a call that are read here; a rejected promise says why one cannot be. */
export class ReadMessages {
  /** How long the body said it is: what Connect gets instead is shorter, so it is not told. */
  readonly announcedBytes: string | undefined;
  readonly #messages: Promise<Message>[] = [];

  constructor(announcedBytes: string | undefined) {
    this.announcedBytes = announcedBytes;
  }

  add(message: Promise<Message>): void {
    // Whoever takes it sees the error; nobody does if the call ends before.
    message.catch(() => undefined);
    this.#messages.push(message);
  }

  /** The next one, in the order of their coming. */
  take(): Promise<Message> {
    return this.#messages.shift() ?? Promise.reject(new Error("a message came that was not read"));
  }
}

/**
 * Reads the messages of a call in the place of Connect, which refuses all of a message for one thing in it and has no way to ask
 * what else it holds. Connect is given an empty message for each, once it asks for the body: strangers are turned away by then.
 */
export function readInPlaceOfConnect(request: FastifyRequest, endpoint: Endpoint): ReadMessages {
  const announced = request.headers["content-length"];
  const read = new ReadMessages(announced);
  const type = request.headers["content-type"] ?? "";
  const isJson = /^application\/(?:(?:connect|grpc-web)\+)?json/i.test(type);
  const add = (bytes: Uint8Array) => read.add(messageOf(bytes, isJson, endpoint));
  // A body that is given up half read takes its connection with it: what is left of it would stand before the next request.
  const incoming: AsyncIterable<Uint8Array> = request.raw;
  const nothing = isJson ? Buffer.from("{}") : Buffer.alloc(0);
  const isEnveloped = /^application\/(?:connect\+|grpc-web)/i.test(type);
  delete request.headers["content-length"];
  request.body = isEnveloped
    ? emptyEnvelopes(incoming, add, nothing)
    : emptyBody(incoming, announced, add, nothing);
  return read;
}

async function* emptyBody(
  incoming: AsyncIterable<Uint8Array>,
  announced: string | undefined,
  add: (bytes: Uint8Array) => void,
  nothing: Uint8Array,
): AsyncGenerator<Uint8Array, void> {
  add(await readAllBytes(incoming, maxMessageBytes, announced));
  yield nothing;
}

async function* emptyEnvelopes(
  incoming: AsyncIterable<Uint8Array>,
  add: (bytes: Uint8Array) => void,
  nothing: Uint8Array,
): AsyncGenerator<Uint8Array, void> {
  for await (const { flags, data } of pipe(incoming, transformSplitEnvelope(maxMessageBytes))) {
    add(data);
    // Flags that Connect does not take, such as of compression, it refuses itself.
    yield encodeEnvelope(flags, nothing);
  }
}

async function messageOf(bytes: Uint8Array, isJson: boolean, endpoint: Endpoint): Promise<Message> {
  if (!isJson) return messageFromBinary(endpoint, bytes);
  try {
    // As Connect reads JSON.
    return await messageFromJson(endpoint, jsonFromBody(bytes, endpoint), { ignoreUnknownFields: true });
  } catch (error) {
    if (error instanceof OtaError) throw error;
    const text = error instanceof Error ? error.message : String(error);
    throw new OtaError("invalid_argument", "INVALID_REQUEST", text, { cause: error });
  }
}
