import { once } from "node:events";
import type { FastifyReply } from "fastify";
import { OtaError } from "../../errors.ts";
import { withTimeLimit } from "../../infra/time-limit.ts";

/** The head of an answer that {@link sendBody} writes. */
export interface AnswerHead {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}

/** Bytes in memory that is lent: it serves other bytes once they are handed back. */
export interface LentBytes {
  readonly data: Uint8Array;
  /** Hands the memory back; nobody may look at the data any more. What is never released is left to the garbage collector. */
  release(): void;
}

/** How long a reader may take no byte before its answer is cut and its slot is free. */
const stallMs = 60_000;

/**
 * Writes an answer by hand, as fast as the reader takes it: with Fastify's own stream answers a source that fails half-way,
 * and a reader that stalls, could not be told from an answer that ended well. Throws if the body fails, the reader stalls or
 * the signal aborts; the connection is then cut, because the status is out. Lent bytes are handed back when the system has
 * taken them; what a broken connection leaves is not, for nobody knows what of it is still to be written.
 */
export async function sendBody(
  reply: FastifyReply,
  { status, headers }: AnswerHead,
  body: AsyncIterable<Uint8Array | LentBytes> | undefined,
  signal: AbortSignal,
): Promise<void> {
  reply.hijack();
  const { raw } = reply;
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) raw.setHeader(name, value);
  raw.writeHead(status, { ...headers });
  try {
    if (body !== undefined) {
      for await (const chunk of body) {
        const hasRoom = chunk instanceof Uint8Array ? raw.write(chunk) : writeLent(raw, chunk);
        if (!hasRoom) await drained(raw, signal);
      }
    }
    raw.end();
    // The last bytes too must be taken by the reader before the call counts as served.
    if (!raw.writableFinished) await withStallLimit(once(raw, "finish", { signal }), signal);
  } catch (error) {
    // The status is sent: only a broken connection tells the client that the content is not complete.
    raw.destroy();
    throw error;
  }
}

function writeLent(raw: FastifyReply["raw"], lent: LentBytes): boolean {
  return raw.write(lent.data, (error) => {
    if (error === null || error === undefined) lent.release();
  });
}

async function drained(raw: FastifyReply["raw"], signal: AbortSignal): Promise<void> {
  if (signal.aborted) throw signal.reason as Error;
  await withStallLimit(once(raw, "drain", { signal }), signal);
}

async function withStallLimit(progress: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const stalled = () =>
    new OtaError("aborted", "CANCELLED", `the client took no byte for ${stallMs / 1_000} s`);
  try {
    await withTimeLimit(progress, stallMs, stalled);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  }
}
