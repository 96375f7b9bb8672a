import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { agoText } from "./format.ts";
import type { Session } from "./session.ts";
import { renderFacts } from "./table.ts";

/** A new credential with its secret, which is shown once. */
export function secretText(session: Session, what: string, id: string | undefined, secret: string): string {
  return renderFacts(session.terminal, [
    [what, id],
    ["secret", `${session.terminal.paint("bold", secret)}`],
    ["", "Keep it now: the service has only a hash of it."],
  ]);
}

/** Whether a credential works, and until when. */
export function validityText(
  credential: { readonly revokeTime?: Timestamp | undefined; readonly expireTime?: Timestamp | undefined },
  nowMs: number,
): string {
  if (credential.revokeTime !== undefined) return `revoked ${agoText(credential.revokeTime, nowMs)}`;
  return credential.expireTime === undefined ? "valid" : `expires ${agoText(credential.expireTime, nowMs)}`;
}

/** The expiry of a new credential, as requests have it. */
export function expiry(expireTime: Timestamp | undefined): { expireTime?: Timestamp } {
  return expireTime === undefined ? {} : { expireTime };
}
