import type { CallTrace } from "../../infra/tracing/tracing.ts";
import type { Call } from "./call.ts";
import type { Endpoint } from "./endpoint.ts";

/** Has what a handler does belong to its call's trace. Only for a service that is traced: no call of another one pays for it. */
export function tracedEndpoint(endpoint: Endpoint): Endpoint {
  const handle = endpoint.handle as unknown as Handle;
  const answersMany = endpoint.kind === "server_stream" || endpoint.kind === "bidi_stream";
  const traced: Handle = (request, call) => {
    const { trace } = call;
    if (trace === undefined) return handle(request, call);
    if (!answersMany) return trace.run(() => handle(request, call));
    return within(trace, () => handle(request, call) as AsyncIterable<unknown>);
  };
  return { ...endpoint, handle: traced } as unknown as Endpoint;
}

type Handle = (request: unknown, call: Call) => unknown;

/** A generator runs where it is asked for the next answer. */
async function* within(trace: CallTrace, make: () => AsyncIterable<unknown>): AsyncGenerator<unknown, void> {
  const answers = trace.run(make)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await trace.run(() => answers.next());
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    await trace.run(async () => answers.return?.());
  }
}
