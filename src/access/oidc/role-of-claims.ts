import { type Role, roles } from "../../call/identity.ts";
import { OtaError } from "../../errors.ts";

/** Which claims name roles, and whose people have which role here. */
export interface RoleMapping {
  /** Names of claims; dots lead into objects. A claim whose whole name has dots counts before that. */
  readonly claims: readonly string[];
  readonly names: Readonly<Record<Role, readonly string[]>>;
}

/** What an issuer says of a person. */
export type Claims = Readonly<Record<string, unknown>>;

/** The highest role that the claims stand for; undefined if there is none. */
export function roleOfClaims(claims: Claims, { claims: paths, names }: RoleMapping): Role | undefined {
  const held = new Set(paths.flatMap((path) => namesAt(claims, path)));
  return roles.findLast((role) => names[role].some((name) => held.has(name)));
}

/** `PERMISSION_DENIED` for a person whose claims stand for no role. */
export function roleMissing(actor: string, { claims, names }: RoleMapping): OtaError {
  const [claim = "", ...others] = claims;
  const wanted = roles.flatMap((role) => names[role]);
  return new OtaError(
    "permission_denied",
    "OIDC_ROLE_MISSING",
    `${actor} has no role here: the claim ${[claim, ...others].join(" or ")} must name one of ${wanted.join(", ")}; the issuer's administrator can assign it`,
    { metadata: { claim, actor } },
  );
}

/** The texts in a claim, which is one or a list. Dots in the path lead into objects; a claim whose whole name has dots counts before that. */
export function namesAt(claims: Claims, path: string): string[] {
  const found = memberOf(claims, path) ?? path.split(".").reduce<unknown>(memberOf, claims);
  if (typeof found === "string") return [found];
  return Array.isArray(found) ? found.filter((each) => typeof each === "string") : [];
}

/** Of what the token says, never of what JavaScript's objects have. */
function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Record<string, unknown>)[name];
}
