import { randomUUID } from "node:crypto";
import { subscribe } from "node:diagnostics_channel";
import type { IncomingMessage } from "node:http";
import type { IncomingHttpHeaders } from "node:http2";

/** What a call came with below its messages. */
export interface Arrival {
  /** By name; a header that came several times has several values. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  /** What stands behind the path; undefined where that is nothing. */
  readonly query: URLSearchParams | undefined;
}

/**
 * Looks at requests before the doors do: the handlers that published suites ask for echo the headers and queries of their calls, which
 * handlers of this service are never given. A request gets an id by which its handler finds it, and a credential, for suites have none.
 */
export class Arrivals {
  readonly #byRequestId = new Map<string, Arrival>();

  constructor(token: string) {
    subscribe("http.server.request.start", (message) => {
      const { request } = message as { request: IncomingMessage };
      this.#note(request.headers, request.headersDistinct, request.url ?? "", token);
    });
    subscribe("http2.server.stream.created", (message) => {
      const { headers } = message as { headers: IncomingHttpHeaders };
      const distinct = Object.entries(headers).map(([name, value = []]) => [name, [value].flat()]);
      this.#note(headers, Object.fromEntries(distinct), headers[":path"] ?? "", token);
    });
  }

  /** The arrival of a call that is being served. */
  of(requestId: string): Arrival {
    const arrival = this.#byRequestId.get(requestId);
    if (arrival === undefined) throw new Error(`no request came with the id ${requestId}`);
    return arrival;
  }

  #note(
    headers: NodeJS.Dict<string | string[]>,
    distinct: NodeJS.Dict<string[]>,
    target: string,
    token: string,
  ): void {
    const [, query] = target.split("?", 2);
    const requestId = randomUUID();
    const values = Object.entries(distinct).map(([name, came = []]) => [name, came] as const);
    this.#byRequestId.set(requestId, {
      headers: new Map(values),
      query: query === undefined ? undefined : new URLSearchParams(query),
    });
    headers["x-request-id"] = requestId;
    headers["authorization"] ??= `Bearer ${token}`;
  }
}
