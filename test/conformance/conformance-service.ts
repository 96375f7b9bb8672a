import { setTimeout as sleep } from "node:timers/promises";
import {
  create,
  type DescMessage,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import {
  bidiStream,
  type CallContext,
  clientStream,
  type Endpoint,
  serverStream,
  unary,
} from "../../src/api/pipeline/endpoint.ts";
import { OtaError } from "../../src/errors.ts";
import type { Arrivals } from "./arrivals.ts";
import {
  type BidiStreamRequest,
  BidiStreamRequestSchema,
  type ClientStreamRequest,
  ClientStreamRequestSchema,
  type ConformancePayload_RequestInfo,
  ConformancePayload_RequestInfoSchema,
  type ConformancePayloadSchema,
  ConformanceService,
  type Error as ErrorDefinition,
  IdempotentUnaryRequestSchema,
  ServerStreamRequestSchema,
  type StreamResponseDefinition,
  UnaryRequestSchema,
  type UnaryResponseDefinition,
} from "./gen/connectrpc/conformance/v1/service_pb.js";
import { AskedError } from "./suite-pipeline.ts";

/**
 * The handlers that connectrpc/conformance asks for (docs/testing_servers.md there), as rows of our endpoint table. They give no headers
 * and trailers of their own: handlers of this service cannot.
 */
export function conformanceEndpoints(arrivals: Pick<Arrivals, "of">): readonly Endpoint[] {
  const { method } = ConformanceService;
  const infoOf = (context: CallContext, requests: readonly Any[]) => requestInfo(arrivals, context, requests);
  return [
    unary(method.unary, options, async (request, context) => {
      const info = infoOf(context, [anyPack(UnaryRequestSchema, request)]);
      return { payload: await answerOf(request.responseDefinition, info, context) };
    }),
    unary(method.idempotentUnary, options, async (request, context) => {
      const info = infoOf(context, [anyPack(IdempotentUnaryRequestSchema, request)]);
      return { payload: await answerOf(request.responseDefinition, info, context) };
    }),
    unary(method.unimplemented, options, async () => {
      throw new OtaError("unimplemented", "UNIMPLEMENTED", "not implemented");
    }),
    clientStream(method.clientStream, options, async (requests, context) => {
      const received: ClientStreamRequest[] = [];
      for await (const request of requests) received.push(request);
      const info = infoOf(context, packed(ClientStreamRequestSchema, received));
      return { payload: await answerOf(received[0]?.responseDefinition, info, context) };
    }),
    serverStream(method.serverStream, options, async function* (request, context) {
      const info = infoOf(context, [anyPack(ServerStreamRequestSchema, request)]);
      yield* answersOf(request.responseDefinition, info, context);
    }),
    bidiStream(method.bidiStream, options, async function* (requests, context) {
      const [first, rest] = await begun(requests);
      if (first?.fullDuplex === true) {
        yield* alternating(first, rest, context, infoOf);
        return;
      }
      const received = first === undefined ? [] : [first];
      for await (const request of rest) received.push(request);
      const info = infoOf(context, packed(BidiStreamRequestSchema, received));
      yield* answersOf(first?.responseDefinition, info, context);
    }),
  ];
}

const options = { access: { role: "viewer" }, rate: "operator" } as const;

type InfoOf = (context: CallContext, requests: readonly Any[]) => ConformancePayload_RequestInfo;

/** One answer, or the error that the definition names instead. */
async function answerOf(
  definition: UnaryResponseDefinition | undefined,
  requestInfo: ConformancePayload_RequestInfo,
  { signal }: CallContext,
): Promise<MessageInitShape<typeof ConformancePayloadSchema>> {
  await sleep(definition?.responseDelayMs ?? 0, undefined, { signal });
  const response = definition?.response;
  if (response?.case === "error") throw asked(response.value, requestInfo);
  return { requestInfo, ...(response?.case === "responseData" ? { data: response.value } : {}) };
}

/** The answers of a stream whose requests have all come, then its error. */
async function* answersOf(
  definition: StreamResponseDefinition | undefined,
  requestInfo: ConformancePayload_RequestInfo,
  { signal }: CallContext,
) {
  const { responseData = [], responseDelayMs = 0, error } = definition ?? {};
  for (const [index, data] of responseData.entries()) {
    await sleep(responseDelayMs, undefined, { signal });
    yield { payload: index === 0 ? { data, requestInfo } : { data } };
  }
  if (error !== undefined) throw asked(error, responseData.length === 0 ? requestInfo : undefined);
}

/** An answer to each request as it comes, those that are left at the end, then the error. */
async function* alternating(
  first: BidiStreamRequest,
  rest: AsyncIterable<BidiStreamRequest>,
  context: CallContext,
  infoOf: InfoOf,
) {
  const { responseData = [], responseDelayMs = 0, error } = first.responseDefinition ?? {};
  const left = [...responseData];
  const isFirst = () => left.length === responseData.length;
  let requests = packed(BidiStreamRequestSchema, [first]);
  const next = async (data: Uint8Array) => {
    await sleep(responseDelayMs, undefined, { signal: context.signal });
    return data;
  };
  const describe = () =>
    isFirst() ? infoOf(context, requests) : create(ConformancePayload_RequestInfoSchema, { requests });
  for await (const request of prepended(first, rest)) {
    requests = packed(BidiStreamRequestSchema, [request]);
    const requestInfo = describe();
    const data = left.shift();
    if (data === undefined) break;
    yield { payload: { data: await next(data), requestInfo } };
  }
  while (left.length > 0) yield { payload: { data: await next(left.shift() as Uint8Array) } };
  if (error !== undefined)
    throw asked(error, responseData.length === 0 ? infoOf(context, requests) : undefined);
}

function asked(
  { code, message = "", details }: ErrorDefinition,
  requestInfo: ConformancePayload_RequestInfo | undefined,
): AskedError {
  const more = requestInfo === undefined ? [] : [anyPack(ConformancePayload_RequestInfoSchema, requestInfo)];
  return new AskedError(code, message, [...details, ...more]);
}

function requestInfo(
  arrivals: Pick<Arrivals, "of">,
  { requestId }: CallContext,
  requests: readonly Any[],
): ConformancePayload_RequestInfo {
  const { headers, query } = arrivals.of(requestId);
  const timeoutMs = timeoutOf(headers);
  return create(ConformancePayload_RequestInfoSchema, {
    requestHeaders: [...headers].map(([name, value]) => ({ name, value: [...value] })),
    requests: [...requests],
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(query === undefined
      ? {}
      : { connectGetInfo: { queryParams: [...query].map(([name, value]) => ({ name, value: [value] })) } }),
  });
}

/** The caller's deadline as its protocol writes it; undefined without one. */
function timeoutOf(headers: ReadonlyMap<string, readonly string[]>): bigint | undefined {
  const [connect] = headers.get("connect-timeout-ms") ?? [];
  if (connect !== undefined) return BigInt(connect);
  const [grpc] = headers.get("grpc-timeout") ?? [];
  if (grpc === undefined) return undefined;
  const perUnit: Readonly<Record<string, number>> = { H: 3.6e6, M: 6e4, S: 1e3, m: 1, u: 1e-3, n: 1e-6 };
  return BigInt(Math.round(Number(grpc.slice(0, -1)) * (perUnit[grpc.slice(-1)] ?? Number.NaN)));
}

async function begun<T>(requests: AsyncIterable<T>): Promise<[T | undefined, AsyncIterable<T>]> {
  const iterator = requests[Symbol.asyncIterator]();
  const { value, done } = await iterator.next();
  return [done === true ? undefined : value, { [Symbol.asyncIterator]: () => iterator }];
}

async function* prepended<T>(first: T, rest: AsyncIterable<T>): AsyncGenerator<T, void> {
  yield first;
  yield* rest;
}

function packed<D extends DescMessage>(schema: D, messages: readonly MessageShape<D>[]): Any[] {
  return messages.map((message) => anyPack(schema, message as MessageShape<D> & Message));
}
