import { invalidArgument, OtaError } from "../../errors.ts";

/** How long a client should wait before it tries a store again that is away or full. */
const RETRY_AFTER_MS = 5_000;

/** Turns a failure of the file system or of the object store into an {@link OtaError}; passes those through. */
export function storageError(action: string, cause: unknown): OtaError {
  if (cause instanceof OtaError) return cause;
  const code = (cause as { code?: unknown } | undefined)?.code;
  // EFBIG: the file would be larger than its file system, or this process, may make one.
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") {
    return new OtaError("resource_exhausted", "STORAGE_FULL", "the object store is full", {
      cause,
      retryAfterMs: RETRY_AFTER_MS,
    });
  }
  if (code === "ENOTFOUND" || code === "EAI_AGAIN")
    return unavailable("has a host name that does not resolve", cause);
  if (code === "EMFILE" || code === "ENFILE")
    return unavailable("cannot be used: the service may open no more files", cause);
  return storageUnavailable(action, cause);
}

/** The store cannot do that now, through no fault of the caller. */
export function storageUnavailable(action: string, cause?: unknown): OtaError {
  return unavailable(`cannot ${action} at the moment`, cause);
}

/** An object's address becomes part of a path: nothing but a digest gets through. */
export function assertSha256(sha256: string): void {
  if (!/^[0-9a-f]{64}$/.test(sha256)) {
    throw invalidArgument("sha256", "must be 64 lower-case hexadecimal digits");
  }
}

/** The address that a key or path below the store's root stands for: `sha256/ab/abcdef…`; undefined for any other. */
export function addressIn(path: string): string | undefined {
  const [, shard, sha256] = addressPattern.exec(path) ?? [];
  return shard !== undefined && sha256?.startsWith(shard) === true ? sha256 : undefined;
}

const addressPattern = /^sha256\/([0-9a-f]{2})\/([0-9a-f]{64})$/;

function unavailable(state: string, cause: unknown): OtaError {
  return new OtaError("unavailable", "STORAGE_UNAVAILABLE", `the object store ${state}`, {
    cause,
    retryAfterMs: RETRY_AFTER_MS,
  });
}
