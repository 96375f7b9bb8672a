import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { type RequestOptions, request } from "node:https";
import { text } from "node:stream/consumers";

/** An answer over HTTPS, with its headers. */
export interface HttpsAnswer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** One call on a connection of its own: `fetch` takes no authority and no certificate of the client's. */
export async function httpsCall(
  url: string,
  { body, ...options }: RequestOptions & { readonly body?: string },
): Promise<HttpsAnswer> {
  const call = request(url, { agent: false, servername: "localhost", ...options });
  call.end(body);
  const [answer] = (await once(call, "response")) as [IncomingMessage];
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: await text(answer) };
}
