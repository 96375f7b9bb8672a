import { OtaError } from "../errors.ts";
import type { Scope } from "./scope.ts";

/** What an operator may do; each role may do what the ones before it may. */
export const roles = ["viewer", "operator", "admin"] as const;

/** See {@link roles}. */
export type Role = (typeof roles)[number];

/** Who is calling, as proven by a credential. */
export type Identity =
  | {
      readonly kind: "operator";
      readonly tokenId: string;
      readonly name: string;
      readonly role: Role;
      /** What the token is limited to; undefined if it is not. */
      readonly scope?: Scope | undefined;
    }
  | { readonly kind: "device"; readonly deviceId: string; readonly credentialId: string }
  | { readonly kind: "anonymous" };

/** Whether a role includes another. */
export function roleIncludes(held: Role, needed: Role): boolean {
  return roles.indexOf(held) >= roles.indexOf(needed);
}

/** The caller as the audit log names it: `operator:<token name>`, `device:<id>` or `anonymous`. */
export function actorOf(identity: Identity): string {
  switch (identity.kind) {
    case "operator":
      return `operator:${identity.name}`;
    case "device":
      return `device:${identity.deviceId}`;
    case "anonymous":
      return "anonymous";
  }
}

/** The device that calls. `ROLE_REQUIRED` for anybody else, who is told that only devices do `what`. */
export function callingDevice(identity: Identity, what: string): string {
  if (identity.kind === "device") return identity.deviceId;
  throw new OtaError("permission_denied", "ROLE_REQUIRED", `only devices ${what}`);
}
