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
      /** The token's id, or the person's. */
      readonly tokenId: string;
      /** The token's name, or of a person as {@link personName} has it. */
      readonly name: string;
      readonly role: Role;
      /** A person of the OpenID Connect issuer, and not a token of the service. */
      readonly person?: true;
      /** What the token is limited to; undefined if it is not. */
      readonly scope?: Scope | undefined;
    }
  | {
      readonly kind: "device";
      readonly deviceId: string;
      readonly credentialId: string;
      /** It came with a token of the service, and not with a certificate or a key of its own. */
      readonly hasToken?: true;
      /** When the token that it came with ends, in milliseconds since 1970; undefined if it does not. */
      readonly expiresMs?: number;
      /** An operator wants it to exchange the token that it came with. */
      readonly shallRotate?: true;
    }
  | { readonly kind: "anonymous" };

/** Whether a role includes another. */
export function roleIncludes(held: Role, needed: Role): boolean {
  return roles.indexOf(held) >= roles.indexOf(needed);
}

/** The caller as the audit log names it: `operator:<token name>`, `oidc:<subject> (<name>)`, `device:<id>` or `anonymous`. */
export function actorOf(identity: Identity): string {
  switch (identity.kind) {
    case "operator":
      return identity.person === true ? `${personKind}${identity.name}` : `operator:${identity.name}`;
    case "device":
      return `device:${identity.deviceId}`;
    case "anonymous":
      return "anonymous";
  }
}

/**
 * A person of the OpenID Connect issuer by its subject, which is nobody else's and has no blanks, and by what it is called, which
 * anybody may be called: the subject comes first, so that no name can pass for it.
 */
export function personName(subject: string, name: string): string {
  return name === "" ? subject : `${subject} (${name})`;
}

/** The same as the audit log names it. */
export function personActor(subject: string, name: string): string {
  return personKind + personName(subject, name);
}

/** Not that of tokens, whose names administrators choose. */
const personKind = "oidc:";

/** The device that calls. `ROLE_REQUIRED` for anybody else, who is told that only devices do `what`. */
export function callingDevice(identity: Identity, what: string): string {
  if (identity.kind === "device") return identity.deviceId;
  throw new OtaError("permission_denied", "ROLE_REQUIRED", `only devices ${what}`);
}

/** Whether an operator wants the calling device to exchange the token that it came with. */
export function shallRotate(identity: Identity): boolean {
  return identity.kind === "device" && identity.shallRotate === true;
}
