import { InterceptingCall, type Interceptor, ListenerBuilder, Metadata, status } from "@grpc/grpc-js";
import { type ClientError, clientErrorFrom } from "./client-error.ts";

/** Where a client's bearer tokens come from, if it has not the same one for ever. */
export interface TokenSource {
  /** The token for the next call; empty for none. If it cannot be had, the call fails with UNAVAILABLE. */
  token(): string | Promise<string>;
  /** Told that the service let a call in as nobody: the token is not to be sent again. */
  refused(error: ClientError): void;
}

/** Sends with each call what the source gives out for it; while a call waits for that it can be cancelled, and its deadline holds. */
export function tokensFrom(source: TokenSource): Interceptor {
  return (options, nextCall) => {
    const call = nextCall(options);
    /** Ends the call while it waits for its token. */
    let giveUp: ((code: status, details: string) => void) | undefined;
    return new InterceptingCall(call, {
      start(metadata, listener, next) {
        const begin = (token: string) => {
          if (token !== "") metadata.set("authorization", `Bearer ${token}`);
          next(metadata, watching(source));
        };
        const token = source.token();
        if (typeof token === "string") return begin(token);
        const timer = atDeadline(options.deadline, () =>
          giveUp?.(status.DEADLINE_EXCEEDED, "there was no token before the deadline"),
        );
        giveUp = (code, details) => {
          clearTimeout(timer);
          giveUp = undefined;
          call.cancelWithStatus(code, details);
          // Nobody hears of the end of a call that was not begun. In its own turn, as from the transport.
          process.nextTick(() => listener.onReceiveStatus({ code, details, metadata: new Metadata() }));
        };
        void token.then(
          (made) => {
            if (giveUp === undefined) return;
            clearTimeout(timer);
            giveUp = undefined;
            begin(made);
          },
          (error: unknown) => giveUp?.(status.UNAVAILABLE, `no token could be made: ${String(error)}`),
        );
      },
      cancel(next) {
        if (giveUp === undefined) next();
        else giveUp(status.CANCELLED, "the call was cancelled");
      },
    });
  };
}

function atDeadline(deadline: Date | number | undefined, callback: () => void): NodeJS.Timeout | undefined {
  const leftMs = Number(deadline ?? Number.POSITIVE_INFINITY) - Date.now();
  return leftMs > maxTimerMs ? undefined : setTimeout(callback, Math.max(leftMs, 0));
}

/** Beyond that Node's timers fire at once. */
const maxTimerMs = 2 ** 31 - 1;

function watching(source: TokenSource) {
  return new ListenerBuilder()
    .withOnReceiveStatus((outcome, next) => {
      if (outcome.code === status.UNAUTHENTICATED)
        source.refused(clientErrorFrom(Object.assign(new Error(outcome.details), outcome)));
      next(outcome);
    })
    .build();
}
