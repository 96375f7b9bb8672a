import { isLoopback } from "../loopback.ts";

/** The content could not be had at the URL that the service gave; the service itself has it. */
export class DirectDownloadFailed extends Error {
  override readonly name = "DirectDownloadFailed";
}

/**
 * The bytes of a content from `offset` to its end, from a URL that the service gave: never more than are missing, and an error
 * if fewer come. They are no better than whoever sent them, so the whole has to be checked against its digest. Only by
 * TLS, or from this machine; no credential is sent, and no redirect followed. Throws {@link DirectDownloadFailed}.
 */
export async function* directBytes(
  url: string,
  offset: number,
  sizeBytes: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  assertSafe(url);
  let at = offset;
  try {
    const response = await fetch(url, {
      redirect: "error",
      // Ranges are of what is stored, so nothing may be compressed on the way.
      headers: { "accept-encoding": "identity", ...(offset === 0 ? {} : { range: `bytes=${offset}-` }) },
      signal,
    });
    try {
      checkAnswer(response, offset);
      for await (const data of response.body ?? []) {
        at += data.length;
        if (at > sizeBytes) throw new DirectDownloadFailed(`the URL gave more than ${sizeBytes} bytes`);
        yield data;
      }
    } finally {
      await response.body?.cancel().catch(() => undefined);
    }
  } catch (error) {
    if (error instanceof DirectDownloadFailed) throw error;
    throw new DirectDownloadFailed(`the URL could not be read: ${wordsOf(error)}`, { cause: error });
  }
  if (at < sizeBytes) throw new DirectDownloadFailed(`the URL gave ${at} of ${sizeBytes} bytes`);
}

function assertSafe(url: string): void {
  const { protocol, hostname } = URL.canParse(url) ? new URL(url) : { protocol: "", hostname: "" };
  if (protocol === "https:" || (protocol === "http:" && isLoopback(hostname))) return;
  throw new DirectDownloadFailed("the URL is none of https");
}

function checkAnswer({ status, headers }: Response, offset: number): void {
  if (headers.has("content-encoding")) throw new DirectDownloadFailed("the URL gave compressed bytes");
  if (offset === 0 && status === 200) return;
  const range = headers.get("content-range") ?? "";
  if (status === 206 && range.startsWith(`bytes ${offset}-`)) return;
  throw new DirectDownloadFailed(`the URL answered ${status} ${range}`.trimEnd());
}

/** The URL stands in no message: it is a right to read. */
function wordsOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}
