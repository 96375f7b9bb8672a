import { InterceptingCall, type Interceptor, ListenerBuilder, Metadata, status } from "@grpc/grpc-js";
import { type ClientError, clientErrorFrom } from "./client-error.ts";

/** Where a client's bearer tokens come from, if it has not the same one for ever. */
export interface TokenSource {
  /** The token for the next call. If it cannot be had, the call fails with UNAVAILABLE. */
  token(): string | Promise<string>;
  /** Told that the service let a call in as nobody: the token is not to be sent again. */
  refused(error: ClientError): void;
}

/** Sends with each call what the source gives out for it. */
export function tokensFrom(source: TokenSource): Interceptor {
  return (options, nextCall) => {
    let started = false;
    let cancelled = false;
    return new InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        const begin = (token: string) => {
          if (cancelled) return fail(status.CANCELLED, "the call was cancelled");
          started = true;
          metadata.set("authorization", `Bearer ${token}`);
          next(metadata, watching(source));
        };
        const fail = (code: status, details: string) =>
          listener.onReceiveStatus({ code, details, metadata: new Metadata() });
        const token = source.token();
        if (typeof token === "string") begin(token);
        else
          void token.then(begin, (error: unknown) =>
            fail(status.UNAVAILABLE, `no token could be made: ${String(error)}`),
          );
      },
      cancel(next) {
        cancelled = true;
        // Nobody would hear of the end of a call that was not begun.
        if (started) next();
      },
    });
  };
}

function watching(source: TokenSource) {
  return new ListenerBuilder()
    .withOnReceiveStatus((outcome, next) => {
      if (outcome.code === status.UNAUTHENTICATED)
        source.refused(clientErrorFrom(Object.assign(new Error(outcome.details), outcome)));
      next(outcome);
    })
    .build();
}
