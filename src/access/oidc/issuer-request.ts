/** How the issuer is asked. */
export interface IssuerLimits {
  readonly timeoutMs: number;
  readonly maxAnswerBytes: number;
}

/** The issuer did not answer, or not as it may. */
export class IssuerUnreachable extends Error {
  override readonly name = "IssuerUnreachable";
}

/**
 * Asks the issuer for JSON. An answer is bounded in bytes and time, and a redirect is refused: where the issuer's keys are is said by
 * nobody else. Throws in words.
 */
export async function readFromIssuer(
  url: string,
  limits: IssuerLimits,
  signal: AbortSignal,
): Promise<unknown> {
  const response = await boundedFetch(limits)(url, { headers: { accept: "application/json" }, signal });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  try {
    return await response.json();
  } catch {
    throw new Error(`${url} answered with no JSON`);
  }
}

/** A `fetch` for the issuer, with the whole answer in memory: never more than it may be, nor later. */
export function boundedFetch(limits: IssuerLimits): (url: string, init: RequestInit) => Promise<Response> {
  return async (url, init) => {
    const timeout = AbortSignal.timeout(limits.timeoutMs);
    const signal = init.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
    try {
      const response = await fetch(url, { ...init, signal, redirect: "error" });
      const body = await readAll(response, limits.maxAnswerBytes);
      const { status, statusText, headers } = response;
      return new Response(nullBodyStatuses.has(status) ? null : body, { status, statusText, headers });
    } catch (error) {
      throw new IssuerUnreachable(`${url} cannot be read: ${wordsOf(error)}`, { cause: error });
    }
  };
}

async function readAll(response: Response, maxBytes: number): Promise<Buffer<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    // Leaving the loop cancels the body.
    if (bytes > maxBytes) throw new Error(`the answer has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What `fetch` says of the network stands in the cause. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== "" ? error.cause.message : error.message;
}

/** Statuses of which a Response takes no body (Fetch standard). */
const nullBodyStatuses = new Set([204, 205, 304]);
