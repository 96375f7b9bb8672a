import type { Identity } from "./identity.ts";

/** Who reads what may take long: nothing goes on for a caller who has left, and a device reads one thing at a time. */
export function readerOf(
  identity: Identity,
  signal: AbortSignal,
): { readonly signal: AbortSignal; readonly alone: string | undefined } {
  return { signal, alone: identity.kind === "device" ? identity.deviceId : undefined };
}
