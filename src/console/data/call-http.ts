import { Code, ConnectError } from "@connectrpc/connect";
import { consoleHeaders } from "./transport.ts";

/** Calls one of the service's own HTTP routes as somebody who is signed in. Throws a ConnectError with the service's words. */
export async function callHttp(path: string, init: RequestInit = {}): Promise<Response> {
  const answer = await fetch(path, { ...init, headers: consoleHeaders }).catch((error: unknown) => {
    throw ConnectError.from(error, Code.Unavailable);
  });
  if (!answer.ok) throw new ConnectError(await wordsOf(answer), Code.FailedPrecondition, answer.headers);
  return answer;
}

/** The message of an error as the service writes it over HTTP (`google.rpc.Status` in JSON). */
async function wordsOf(answer: Response): Promise<string> {
  const body = (await answer.json().catch(() => undefined)) as
    | { readonly message?: string; readonly error?: { readonly message?: string } }
    | undefined;
  return body?.error?.message ?? body?.message ?? `the service answered ${answer.status}`;
}
