import { setTimeout as sleep } from "node:timers/promises";
import {
  bidiStream,
  type CallContext,
  clientStream,
  type Endpoint,
  serverStream,
  unary,
} from "../../src/api/pipeline/endpoint.ts";
import { OtaError } from "../../src/errors.ts";
import type { EchoStatus, Payload, ResponseParameters } from "./gen/grpc/testing/messages_pb.js";
import { TestService } from "./gen/grpc/testing/test_pb.js";
import { AskedError } from "./suite-pipeline.ts";

/** The handlers that the interop cases of gRPC ask for (doc/interop-test-descriptions.md in grpc/grpc), as rows of our endpoint table. */
export function interopEndpoints(): readonly Endpoint[] {
  const { method } = TestService;
  return [
    unary(method.emptyCall, options, async () => ({})),
    unary(method.unaryCall, options, async ({ responseSize, responseStatus }) => {
      refuseAsAsked(responseStatus);
      return { payload: payloadOf(responseSize) };
    }),
    unary(method.cacheableUnaryCall, options, async ({ responseSize }) => ({
      payload: payloadOf(responseSize),
    })),
    unary(method.unimplementedCall, options, async () => {
      throw new OtaError("unimplemented", "UNIMPLEMENTED", "not implemented");
    }),
    serverStream(method.streamingOutputCall, options, async function* (request, context) {
      refuseAsAsked(request.responseStatus);
      yield* answersOf(request.responseParameters, context);
    }),
    clientStream(method.streamingInputCall, options, async (requests) => {
      let aggregatedPayloadSize = 0;
      for await (const { payload } of requests) aggregatedPayloadSize += payload?.body.length ?? 0;
      return { aggregatedPayloadSize };
    }),
    bidiStream(method.fullDuplexCall, options, async function* (requests, context) {
      for await (const { responseStatus, responseParameters } of requests) {
        refuseAsAsked(responseStatus);
        yield* answersOf(responseParameters, context);
      }
    }),
    bidiStream(method.halfDuplexCall, options, async function* (requests, context) {
      const received = [];
      for await (const request of requests) received.push(request);
      for (const { responseParameters } of received) yield* answersOf(responseParameters, context);
    }),
  ];
}

const options = { access: { role: "viewer" }, rate: "operator" } as const;

async function* answersOf(parameters: readonly ResponseParameters[], { signal }: CallContext) {
  for (const { size, intervalUs } of parameters) {
    if (intervalUs > 0) await sleep(intervalUs / 1_000, undefined, { signal });
    yield { payload: payloadOf(size) };
  }
}

function payloadOf(size: number): Pick<Payload, "body"> {
  return { body: new Uint8Array(size) };
}

function refuseAsAsked(status: EchoStatus | undefined): void {
  if (status !== undefined && status.code !== 0) throw new AskedError(status.code, status.message, []);
}
