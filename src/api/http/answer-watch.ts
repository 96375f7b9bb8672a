import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Caller } from "../pipeline/caller.ts";
import type { UnreadAnswer, UnreadAnswers } from "../pipeline/unread-answers.ts";

/** Who asked, as far as that is known; the address until then. */
const callers = new WeakMap<IncomingMessage, Caller>();

/** The call that a request became: what its answers hold counts for its caller. */
export function rememberCaller({ raw }: FastifyRequest, caller: Caller): void {
  callers.set(raw, caller);
}

/**
 * Counts the pieces of every answer of the port for as long as its reader has not taken them. A connection is cut when one stands
 * unread for too long, or when its caller's hold too much.
 */
export function watchAnswers(app: FastifyInstance, unread: UnreadAnswers): void {
  app.addHook("onRequest", (request, { raw }, done) => {
    // Cannot be asked for any more when the client has gone.
    const stranger: Caller = { identity: { kind: "anonymous" }, peer: request.ip };
    const { socket } = request.raw;
    // Connect stops listening when its answer is cut, which may be just before Node tells that the request was.
    request.raw.on("error", () => {});
    const standing = { caller: () => callers.get(request.raw) ?? stranger, cut: () => void socket.destroy() };
    watch(raw, unread, standing);
    done();
  });
}

function watch(
  answer: ServerResponse,
  unread: UnreadAnswers,
  { caller, cut }: { readonly caller: () => Caller; readonly cut: () => void },
): void {
  const pieces = new Set<UnreadAnswer>();
  const begin = (chunk: unknown): UnreadAnswer | undefined => {
    try {
      const piece = unread.begin(caller(), bytesOf(chunk), cut);
      pieces.add(piece);
      return piece;
    } catch {
      // Its status is out: only a broken connection tells that the answer is not whole.
      cut();
      return undefined;
    }
  };
  const end = (piece: UnreadAnswer | undefined) => {
    if (piece === undefined) return;
    pieces.delete(piece);
    piece.end();
  };
  answer.once("close", () => {
    for (const piece of pieces) end(piece);
  });
  const write = answer.write.bind(answer) as (...args: unknown[]) => boolean;
  answer.write = (chunk: unknown, ...rest: unknown[]) => {
    const piece = begin(chunk);
    const callback = rest.findLast((each) => typeof each === "function");
    const encoding = rest.find((each) => typeof each === "string");
    return write(chunk, encoding, (error: unknown) => {
      end(piece);
      callback?.(asConnectionEnd(error));
    });
  };
  const finish = answer.end.bind(answer) as (...args: unknown[]) => ServerResponse;
  answer.end = ((...args: unknown[]) => {
    // What is left is taken when the answer is closed.
    begin(args[0]);
    return finish(...args);
  }) as ServerResponse["end"];
}

/** What was under way when a connection ended. Connect takes all but this code for a fault of the service, and prints it. */
function asConnectionEnd(error: unknown): unknown {
  if (error instanceof Error && "code" in error && error.code === "ECANCELED") error.code = "ECONNRESET";
  return error;
}

function bytesOf(chunk: unknown): number {
  if (typeof chunk === "string") return Buffer.byteLength(chunk);
  return chunk instanceof Uint8Array ? chunk.length : 0;
}
