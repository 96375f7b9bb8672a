import { OtaError } from "../../errors.ts";
import { abortable } from "./abortable.ts";

/** How long a source may stay silent. */
export interface IdleLimit {
  /** In milliseconds, also with what is done with a value before the next is asked for. */
  readonly idleMs: number;
  /** What is thrown after that. */
  readonly tooLong: () => Error;
}

/** That of an upload: a client that sends nothing for so long has gone away, and must not keep others from uploading. */
export const uploadIdleLimit: IdleLimit = { idleMs: 60_000, tooLong: uploadIdle };

/** The same values, {@link abortable}; a source that stays silent for too long ends with an error. */
export async function* withIdleLimit<T>(
  source: AsyncIterable<T>,
  { idleMs, tooLong }: IdleLimit,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const idle = new AbortController();
  const timer = setTimeout(() => idle.abort(tooLong()), idleMs);
  timer.unref();
  try {
    for await (const value of abortable(source, AbortSignal.any([signal, idle.signal]))) {
      timer.refresh();
      yield value;
    }
  } finally {
    clearTimeout(timer);
  }
}

function uploadIdle(): OtaError {
  return new OtaError(
    "deadline_exceeded",
    "DEADLINE_EXCEEDED",
    `the upload sent nothing for ${uploadIdleLimit.idleMs / 1_000} seconds`,
  );
}
