import { Code, ConnectError } from "@connectrpc/connect";
import { consoleHeaders } from "./transport.ts";

/**
 * Fetches a file of the service's own HTTP routes as somebody who is signed in, and lets the browser save it. A plain link
 * could not: only calls of the console may use the session. Throws a ConnectError with the service's words.
 */
export async function fetchFile(path: string, name: string): Promise<void> {
  const answer = await fetch(path, { headers: consoleHeaders }).catch((error: unknown) => {
    throw ConnectError.from(error, Code.Unavailable);
  });
  if (!answer.ok) throw new ConnectError(await wordsOf(answer), Code.FailedPrecondition, answer.headers);
  const type = answer.headers.get("content-type") ?? "application/octet-stream";
  saveFile(new Uint8Array(await answer.arrayBuffer()), name, type);
}

/** Lets the browser save bytes as a file. */
export function saveFile(bytes: Uint8Array<ArrayBuffer>, name: string, type: string): void {
  const url = URL.createObjectURL(new Blob([bytes], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}

/** The message of an error as the service writes it over HTTP (`google.rpc.Status` in JSON). */
async function wordsOf(answer: Response): Promise<string> {
  const body = (await answer.json().catch(() => undefined)) as
    | { readonly message?: string; readonly error?: { readonly message?: string } }
    | undefined;
  return body?.error?.message ?? body?.message ?? `the service answered ${answer.status}`;
}
