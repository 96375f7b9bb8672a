import type { Message } from "@bufbuild/protobuf";
import { encodeEnvelope, pipe, readAllBytes, transformSplitEnvelope } from "@connectrpc/connect/protocol";
import type { FastifyRequest } from "fastify";
import { bodyEncoding, inflated } from "../pipeline/compressed-body.ts";
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
 * Reads the messages of a call in the place of Connect: all that come in JSON, where Connect passes over words that an enum does not have
 * and names no field, and those that are salvaged, of which Connect would refuse all for one thing in it. Connect is given an empty
 * message for each, once it asks for the body: strangers are turned away by then. Undefined leaves it to Connect.
 */
export function readInPlaceOfConnect(request: FastifyRequest, endpoint: Endpoint): ReadMessages | undefined {
  if (request.method === "GET") return readQuery(request, endpoint);
  const type = request.headers["content-type"] ?? "";
  const isJson = /^application\/(?:(?:connect|grpc-web)\+)?json/i.test(type);
  if (!isJson && endpoint.options.salvage === undefined) return undefined;
  const { headers } = request;
  const announced = headers["content-length"];
  const read = new ReadMessages(announced);
  const add = (bytes: Uint8Array, isCompressed: boolean) =>
    read.add(
      isCompressed
        ? inflated(bytes, maxMessageBytes).then((whole) => messageOf(whole, isJson, endpoint))
        : messageOf(bytes, isJson, endpoint),
    );
  // A body that is given up half read takes its connection with it: what is left of it would stand before the next request.
  const incoming: AsyncIterable<Uint8Array> = request.raw;
  const nothing = isJson ? Buffer.from("{}") : Buffer.alloc(0);
  delete headers["content-length"];
  if (/^application\/(?:connect\+|grpc-web)/i.test(type)) {
    const encoding = headers["connect-content-encoding"] ?? headers["grpc-encoding"];
    request.body = emptyEnvelopes(incoming, add, nothing, encoding === bodyEncoding);
  } else {
    const isCompressed = headers["content-encoding"] === bodyEncoding;
    // Connect would unpack what it is given.
    if (isCompressed) delete headers["content-encoding"];
    request.body = emptyBody(incoming, announced, (bytes) => add(bytes, isCompressed), nothing);
  }
  return read;
}

/** The message of a call by GET, which stands in its query; Connect reads it as well, and refuses what cannot be read there. */
function readQuery({ query }: FastifyRequest, endpoint: Endpoint): ReadMessages | undefined {
  const { encoding, message, base64, compression = "identity" } = query as Record<string, unknown>;
  if (encoding !== "json" || typeof message !== "string") return undefined;
  const bytes = Buffer.from(message, base64 === "1" ? "base64" : "utf8");
  const read = new ReadMessages(undefined);
  if (compression === "identity") read.add(messageOf(bytes, true, endpoint));
  else if (compression === bodyEncoding)
    read.add(inflated(bytes, maxMessageBytes).then((whole) => messageOf(whole, true, endpoint)));
  else return undefined;
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
  add: (bytes: Uint8Array, isCompressed: boolean) => void,
  nothing: Uint8Array,
  canUnpack: boolean,
): AsyncGenerator<Uint8Array, void> {
  for await (const { flags, data } of pipe(incoming, transformSplitEnvelope(maxMessageBytes))) {
    const isCompressed = canUnpack && (flags & compressedFlag) !== 0;
    add(data, isCompressed);
    // Flags that Connect does not take, such as of compression that the call does not name, it refuses itself.
    yield encodeEnvelope(isCompressed ? flags & ~compressedFlag : flags, nothing);
  }
}

const compressedFlag = 1;

async function messageOf(bytes: Uint8Array, isJson: boolean, endpoint: Endpoint): Promise<Message> {
  if (!isJson) return messageFromBinary(endpoint, bytes);
  // An empty body stands for an empty message.
  const json = bytes.length === 0 ? {} : jsonFromBody(bytes, endpoint);
  // As Connect reads JSON.
  return await messageFromJson(endpoint, json, { ignoreUnknownFields: true });
}
