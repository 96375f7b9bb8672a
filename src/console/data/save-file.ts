import { callHttp } from "./call-http.ts";

/**
 * Fetches a file of the service's own HTTP routes as somebody who is signed in, and lets the browser save it. A plain link
 * could not: only calls of the console may use the session. Throws a ConnectError with the service's words.
 */
export async function fetchFile(path: string, name: string): Promise<void> {
  const answer = await callHttp(path);
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
