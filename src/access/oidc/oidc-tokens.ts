import { errors, type JWTPayload, type JWTVerifyGetKey, type JWTVerifyOptions, jwtVerify } from "jose";
import { credentialExpired } from "../../call/bearer.ts";
import type { Identity, Role } from "../../call/identity.ts";
import { personActor } from "../../call/identity.ts";
import { OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import { SecondChanceCache } from "../../infra/second-chance-cache.ts";
import { secretKey } from "../secret.ts";
import type { Issuer } from "./issuer.ts";
import type { People, Person } from "./people.ts";
import { type Rights, type RightsMapping, rightsOfClaims, rightsOfSession } from "./rights-of-claims.ts";
import type { Claims } from "./role-of-claims.ts";

/** What {@link OidcTokens} are made of. */
export interface OidcTokensParts {
  readonly issuer: Issuer;
  readonly people: People;
  readonly settings: TokenRules;
  readonly clock: Clock;
}

/** What is asked of a token. */
interface TokenRules extends RightsMapping {
  /** As it stands in `iss`. */
  readonly issuer: string;
  /** What must stand in `aud`. */
  readonly audience: string;
  /** The signature algorithms that count, all of them asymmetric. */
  readonly algorithms: readonly string[];
  readonly clockToleranceSeconds: number;
}

/** What a token says, once its signature, issuer, audience and times were found to be right. */
export interface VerifiedToken {
  readonly subject: string;
  /** What the person is called, for people to read: not unique, and nothing follows from it. */
  readonly name: string;
  readonly claims: Claims;
  /** Milliseconds since 1970. */
  readonly issuedMs: number;
  readonly expiresMs: number;
}

/** Who signed in, and when by the service's clock. */
export interface SignedIn {
  readonly personId: string;
  readonly role: Role;
  /** See {@link Rights}. */
  readonly limit?: string | undefined;
  readonly signedMs: number;
}

/**
 * Access tokens of an OpenID Connect issuer (JWT: RFC 7519, RFC 8725, RFC 9068), in the place of an operator's own token. A token that
 * was seen is answered from memory, as long as it and its key are good, and the person is not shut out.
 */
export class OidcTokens {
  readonly #parts: OidcTokensParts;
  readonly #listeners: (() => void)[] = [];
  #seen = new SecondChanceCache<SeenToken>(maxSeen);

  constructor(parts: OidcTokensParts) {
    this.#parts = parts;
    const { issuer, people } = parts;
    issuer.onKeys(() => {
      // What a key signed that is gone counts no more.
      this.#seen = new SecondChanceCache(maxSeen);
      this.#tell();
    });
    people.onChange(() => this.#tell());
  }

  /**
   * Says who holds an access token; `beforeCheck` may refuse to look at one that is not in memory. Throws (or rejects with)
   * `CREDENTIAL_INVALID`, `CREDENTIAL_EXPIRED`, `CREDENTIAL_REVOKED`, `PERSON_DISABLED`, those of
   * {@link rightsOfClaims} and `OIDC_ISSUER_UNAVAILABLE`.
   */
  identify(token: string, beforeCheck?: () => void): Identity | Promise<Identity> {
    const key = secretKey(token);
    const seen = this.#seen.get(key);
    if (seen !== undefined) return this.#admit(seen);
    beforeCheck?.();
    return this.#check(token, key);
  }

  /** Says who holds a session that was opened for a person, with the limits of that name. Throws (or rejects) as {@link identify} does. */
  ofSession({ personId, role, limit, signedMs }: SignedIn): Identity | Promise<Identity> {
    const rights = rightsOfSession(role, limit, this.#parts.settings);
    return withRights(this.#parts.people.ofId(personId, signedMs), rights);
  }

  /** Checks a token as an access token for this service. Throws `CREDENTIAL_INVALID` and `CREDENTIAL_EXPIRED`. */
  async verify(token: string): Promise<VerifiedToken> {
    const verified = await this.verifyFor(token, this.#parts.settings.audience);
    requireAccessToken(verified.claims);
    return verified;
  }

  /** Checks a token of the issuer for any audience, whatever else it is. */
  async verifyFor(token: string, audience: string): Promise<VerifiedToken> {
    const { issuer, settings, clock } = this.#parts;
    const keyOf: JWTVerifyGetKey = (header) => issuer.keyOf(header);
    const options: JWTVerifyOptions = {
      algorithms: [...settings.algorithms],
      issuer: settings.issuer,
      audience,
      clockTolerance: settings.clockToleranceSeconds,
      requiredClaims: ["sub", "iat", "exp"],
      currentDate: clock.now(),
    };
    try {
      const { payload, protectedHeader } = await jwtVerify(token, keyOf, options);
      if (!tokenTypes.has(protectedHeader.typ?.toLowerCase())) throw refused("it is no access token");
      return verifiedOf(payload);
    } catch (error) {
      if (error instanceof OtaError) throw error;
      if (error instanceof errors.JWTExpired)
        throw credentialExpired(new Date((error.payload.exp ?? 0) * 1_000));
      throw refused(error instanceof errors.JOSEError ? error.message : "its key cannot be used");
    }
  }

  /** Tells the listener whenever somebody's token may be judged differently. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  async #check(token: string, key: string): Promise<Identity> {
    const seen = this.#seen;
    const { subject, name, claims, issuedMs, expiresMs } = await this.verify(token);
    const rights = rightsOfClaims(personActor(subject, name), claims, this.#parts.settings);
    const checked = { subject, name, rights, issuedMs, expiresMs, used: false };
    // Into the memory of the keys that it was checked with.
    seen.set(key, checked);
    return this.#admit(checked);
  }

  #admit({ subject, name, rights, issuedMs, expiresMs }: SeenToken): Identity | Promise<Identity> {
    const { people, clock, settings } = this.#parts;
    const toleranceMs = settings.clockToleranceSeconds * 1_000;
    if (expiresMs + toleranceMs <= clock.now().getTime()) throw credentialExpired(new Date(expiresMs));
    return withRights(people.ofSubject(subject, name, issuedMs - toleranceMs), rights);
  }
}

function withRights(person: Person | Promise<Person>, rights: Rights): Identity | Promise<Identity> {
  return person instanceof Promise
    ? person.then((known) => identityOf(known, rights))
    : identityOf(person, rights);
}

function identityOf({ id, name }: Person, { role, scope }: Rights): Identity {
  return { kind: "operator", tokenId: id, name, role, scope, person: true };
}

/** The header's `typ` of an access token: RFC 9068 wants the last ones, and issuers of before say `JWT` or nothing. */
const tokenTypes = new Set<unknown>([undefined, "jwt", "at+jwt", "application/at+jwt"]);

/**
 * An ID token says who signed in, to the client that asked, and opens nothing; a logout token says who signed out. Where they have the
 * audience of the access tokens, only their claims tell them apart.
 */
function requireAccessToken(claims: Claims): void {
  const { typ } = claims;
  const isOther = ["nonce", "at_hash", "c_hash", "events"].some((name) => claims[name] !== undefined);
  // Keycloak's word for what a token is.
  if (isOther || (typ !== undefined && typ !== "Bearer")) throw refused("it is no access token");
}

function verifiedOf(payload: JWTPayload): VerifiedToken {
  const { sub = "", iat = Number.NaN, exp = Number.NaN } = payload;
  if (typeof sub !== "string" || !/^[!-~]{1,255}$/.test(sub))
    throw refused("its sub is not 1 to 255 printable ASCII characters");
  if (!Number.isFinite(iat) || !Number.isFinite(exp)) throw refused("its times are no numbers");
  return {
    subject: sub,
    name: nameOf(payload),
    claims: payload,
    issuedMs: iat * 1_000,
    expiresMs: exp * 1_000,
  };
}

/** Fit for a line of a log: whatever is unprintable becomes a blank. */
function nameOf(payload: JWTPayload): string {
  const given = ["preferred_username", "email", "name"].map((claim) => payload[claim]);
  const name = given.find((each) => typeof each === "string" && each !== "");
  return typeof name === "string"
    ? name
        .slice(0, maxNameLength)
        .toWellFormed()
        .replace(/[\p{C}\p{Z}]+/gu, " ")
        .trim()
    : "";
}

function refused(why: string): OtaError {
  return new OtaError("unauthenticated", "CREDENTIAL_INVALID", `the issuer's token is refused: ${why}`);
}

/** As long as a token's name may be. */
const maxNameLength = 64;

/** Some hundred bytes each. */
const maxSeen = 10_000;

interface SeenToken {
  readonly subject: string;
  readonly name: string;
  readonly rights: Rights;
  readonly issuedMs: number;
  readonly expiresMs: number;
  used: boolean;
}
