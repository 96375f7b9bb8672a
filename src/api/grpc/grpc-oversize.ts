import {
  type ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  status,
} from "@grpc/grpc-js";
import { OtaError } from "../../errors.ts";
import type { Call } from "../pipeline/call.ts";
import type { Route } from "../pipeline/pipeline.ts";
import { type AnyCall, toGrpcError } from "./grpc-wire.ts";

/**
 * Makes the refusal of a message that is too large an error like all others, with reason, log line and count. grpc-js
 * refuses such a message by itself, with a bare status, and in a unary call before any handler knows of the call.
 *
 * grpc-js sends that status on the innermost call, past every interceptor's responder. So the interceptor here wraps
 * nothing, which costs messages nothing: it puts itself before that call's `sendStatus`.
 */
export class OversizeRefusals {
  readonly #routes: ReadonlyMap<string, Route>;
  /** Calls that take a stream and have reached the door, by what grpc-js calls the same call. */
  readonly #open = new WeakMap<object, Call>();

  /** `routes` by gRPC path. */
  constructor(routes: ReadonlyMap<string, Route>) {
    this.#routes = routes;
  }

  readonly interceptor: ServerInterceptor = ({ path }, inner) => {
    const sendStatus = inner.sendStatus.bind(inner);
    inner.sendStatus = (answer) => {
      // Whatever the service itself says has details.
      const isBare = answer.metadata === undefined || answer.metadata === null;
      const refused = answer.code === status.RESOURCE_EXHAUSTED && isBare;
      if (!refused) return sendStatus(answer);
      const error = new OtaError("resource_exhausted", "MESSAGE_TOO_LARGE", answer.details);
      const open = this.#open.get(inner);
      // The door ends a call that it has, which sends the status.
      if (open !== undefined) return open.abort(error);
      const route = this.#routes.get(path);
      sendStatus(route === undefined ? answer : refusalOf(route, inner, error));
    };
    // The type asks for a wrapper; grpc-js takes any call.
    return inner as ServerInterceptingCall;
  };

  /** Tells of a call that takes a stream. */
  opened(grpcCall: AnyCall, call: Call): void {
    // grpc-js has no public way to it; without it the refusal would count as a call of its own.
    const { call: inner } = grpcCall as unknown as { call?: object };
    if (inner !== undefined) this.#open.set(inner, call);
  }
}

/** Leads a call that never reached its handler through the pipeline. */
function refusalOf(route: Route, inner: ServerInterceptingCallInterface, error: OtaError) {
  const call = route.open({
    door: "grpc",
    // The headers are not at hand here, and an answer that needs no identity needs none of them.
    authorization: undefined,
    requestId: undefined,
    getPeer: () => inner.getPeer().replace(/:\d+$/, ""),
  });
  return toGrpcError(route.fail(call, error), call);
}
