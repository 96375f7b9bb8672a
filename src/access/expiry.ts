import { invalidArgument } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";

/** Refuses, with `INVALID_REQUEST`, an expiry that has already passed; undefined means never and is fine. */
export function requireFuture(expiresAt: Date | undefined, clock: Clock): void {
  if (expiresAt !== undefined && expiresAt <= clock.now()) {
    throw invalidArgument("expire_time", "must lie in the future");
  }
}
