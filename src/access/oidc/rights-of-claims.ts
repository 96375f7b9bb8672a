import { credentialRevoked } from "../../call/bearer.ts";
import type { Role } from "../../call/identity.ts";
import type { Scope } from "../../call/scope.ts";
import { OtaError } from "../../errors.ts";
import { type Claims, namesAt, type RoleMapping, roleMissing, roleOfClaims } from "./role-of-claims.ts";

/** What the settings make of an issuer's claims. */
export interface RightsMapping {
  readonly roles: RoleMapping;
  /** Undefined where nobody of the issuer is limited. */
  readonly limits: LimitMapping | undefined;
}

/** Which claim names a person's limits, and what each of the names stands for. */
interface LimitMapping {
  /** As in {@link RoleMapping.claims}. */
  readonly claim: string;
  /** Undefined: no limits. */
  readonly named: ReadonlyMap<string, Scope | undefined>;
}

/** What a person may do. */
export interface Rights {
  readonly role: Role;
  /** The name that its limits have in the settings; undefined for administrators, and where nobody is limited. */
  readonly limit?: string | undefined;
  readonly scope?: Scope | undefined;
}

/**
 * What a person's claims stand for. Where the settings have limits, whoever is no administrator must have exactly one of them: what several of
 * them have in common, or open together, no filter says. Throws `OIDC_ROLE_MISSING`, `OIDC_LIMITS_MISSING` and `OIDC_LIMITS_AMBIGUOUS`.
 */
export function rightsOfClaims(actor: string, claims: Claims, { roles, limits }: RightsMapping): Rights {
  const role = roleOfClaims(claims, roles);
  if (role === undefined) throw roleMissing(actor, roles);
  if (limits === undefined || role === "admin") return { role };
  const held = [...new Set(namesAt(claims, limits.claim))].filter((name) => limits.named.has(name));
  const [limit] = held;
  if (limit === undefined) throw limitsMissing(actor, limits);
  if (held.length > 1) throw limitsAmbiguous(actor, limits, held);
  return { role, limit, scope: limits.named.get(limit) };
}

/**
 * What a session that was opened with these rights stands for by the settings of now. Throws `CREDENTIAL_REVOKED` for limits that are no longer
 * there, and for a session that has none where there are some now: its person signs in again.
 */
export function rightsOfSession(role: Role, limit: string | undefined, { limits }: RightsMapping): Rights {
  if (role === "admin" || (limits === undefined && limit === undefined)) return { role };
  if (limit === undefined || limits?.named.has(limit) !== true) throw credentialRevoked();
  return { role, limit, scope: limits.named.get(limit) };
}

function limitsMissing(actor: string, { claim, named }: LimitMapping): OtaError {
  return new OtaError(
    "permission_denied",
    "OIDC_LIMITS_MISSING",
    `${actor} has no limits here: the claim ${claim} must name one of ${shown([...named.keys()])}; the issuer's administrator can assign it`,
    { metadata: { claim, actor } },
  );
}

function limitsAmbiguous(actor: string, { claim }: LimitMapping, held: readonly string[]): OtaError {
  return new OtaError(
    "permission_denied",
    "OIDC_LIMITS_AMBIGUOUS",
    `${actor} has several limits here: the claim ${claim} names ${shown(held)}, and must name one of them alone; the issuer's administrator can change that`,
    { metadata: { claim, actor } },
  );
}

/** Some names: a large company has more than an error should say. */
function shown(names: readonly string[]): string {
  const more = names.length - maxShown;
  return names.slice(0, maxShown).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

const maxShown = 10;
