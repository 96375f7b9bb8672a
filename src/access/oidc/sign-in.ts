import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  type ClientAuth,
  ClientSecretPost,
  Configuration,
  calculatePKCECodeChallenge,
  clockSkew,
  clockTolerance,
  customFetch,
  None,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
} from "openid-client";
import { isJwt } from "../../call/bearer.ts";
import { personActor } from "../../call/identity.ts";
import { OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Issuer } from "./issuer.ts";
import { boundedFetch, type IssuerLimits, IssuerUnreachable } from "./issuer-request.ts";
import type { OidcTokens, SignedIn, VerifiedToken } from "./oidc-tokens.ts";
import type { People } from "./people.ts";
import { type RightsMapping, rightsOfClaims } from "./rights-of-claims.ts";
import { type Claims, roleOfClaims } from "./role-of-claims.ts";

/** What a {@link SignIn} is made of. */
export interface SignInParts {
  readonly issuer: Issuer;
  readonly tokens: OidcTokens;
  readonly people: People;
  readonly client: ClientSettings;
  readonly settings: IssuerLimits & RightsMapping & { readonly clockToleranceSeconds: number };
  readonly clock: Clock;
}

/** The console as the issuer knows it. */
interface ClientSettings {
  readonly id: string;
  /** Undefined for a public client, which the code verifier alone protects. */
  readonly secret: string | undefined;
  readonly scopes: string;
}

/** What one browser must bring back, and nobody else may know. */
export interface SignInSecrets {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

/** Signing in at the issuer by authorization code, with PKCE, state and nonce (RFC 9700, OpenID Connect Core 1.0, section 3.1). */
export class SignIn {
  readonly #parts: SignInParts;

  constructor(parts: SignInParts) {
    this.#parts = parts;
  }

  /** Where to send the browser, and what it must bring back. Throws `OIDC_ISSUER_UNAVAILABLE`. */
  async begin(redirectUrl: string): Promise<{ readonly url: URL; readonly secrets: SignInSecrets }> {
    const { client } = this.#parts;
    const secrets = { state: randomState(), nonce: randomNonce(), verifier: randomPKCECodeVerifier() };
    const url = buildAuthorizationUrl(await this.#configuration(), {
      redirect_uri: redirectUrl,
      scope: client.scopes,
      state: secrets.state,
      nonce: secrets.nonce,
      code_challenge: await calculatePKCECodeChallenge(secrets.verifier),
      code_challenge_method: "S256",
    });
    return { url, secrets };
  }

  /**
   * Says who came back to `url`, by the code in it. Throws `OIDC_SIGN_IN_FAILED`, those of {@link rightsOfClaims}, `PERSON_DISABLED`
   * and `OIDC_ISSUER_UNAVAILABLE`.
   */
  async finish(url: URL, { state, nonce, verifier }: SignInSecrets): Promise<SignedIn> {
    const { people, settings, clock } = this.#parts;
    const { subject, name, claims } = await this.#exchange(url, { state, nonce, verifier });
    const deciding = claims.find((each) => roleOfClaims(each, settings.roles) !== undefined) ?? {};
    const { role, limit } = rightsOfClaims(personActor(subject, name), deciding, settings);
    const signedMs = clock.now().getTime();
    const { id: personId } = await people.ofSubject(subject, name, signedMs);
    return { personId, role, limit, signedMs };
  }

  /** Whom the code stands for, and what says which role: what would count at the doors first. */
  async #exchange(
    url: URL,
    { state, nonce, verifier }: SignInSecrets,
  ): Promise<Pick<VerifiedToken, "subject" | "name"> & { readonly claims: readonly Claims[] }> {
    const { tokens, client } = this.#parts;
    const configuration = await this.#configuration();
    try {
      const answer = await authorizationCodeGrant(configuration, url, {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: verifier,
        idTokenExpected: true,
      });
      // The library trusts the connection; we the signature as well.
      const idToken = await tokens.verifyFor(answer.id_token ?? "", client.id);
      const access = isJwt(answer.access_token)
        ? await tokens.verify(answer.access_token).catch(() => undefined)
        : undefined;
      const isSame = access?.subject === idToken.subject;
      return { ...idToken, claims: [...(isSame ? [access.claims] : []), idToken.claims] };
    } catch (error) {
      throw failureOf(error);
    }
  }

  async #configuration(): Promise<Configuration> {
    const { issuer, client, settings, clock } = this.#parts;
    const metadata = await issuer.metadata();
    const authentication: ClientAuth = client.secret === undefined ? None() : ClientSecretPost(client.secret);
    const skewSeconds = Math.round((clock.now().getTime() - Date.now()) / 1_000);
    const configuration = new Configuration(
      metadata,
      client.id,
      { [clockTolerance]: settings.clockToleranceSeconds, [clockSkew]: skewSeconds },
      authentication,
    );
    configuration[customFetch] = (url, init) => boundedFetch(settings)(url, init as RequestInit);
    // The settings let an issuer in clear pass on this machine alone.
    if (metadata.issuer.startsWith("http:")) allowInsecureRequests(configuration);
    return configuration;
  }
}

function failureOf(error: unknown): OtaError {
  const cause = causesOf(error).find((each) => each instanceof IssuerUnreachable);
  if (cause !== undefined) {
    return new OtaError(
      "unavailable",
      "OIDC_ISSUER_UNAVAILABLE",
      `the issuer does not answer: ${cause.message}`,
      {
        cause,
      },
    );
  }
  const words = error instanceof Error ? error.message : String(error);
  return new OtaError("unauthenticated", "OIDC_SIGN_IN_FAILED", `the sign-in failed: ${words}`, {
    cause: error,
  });
}

function causesOf(error: unknown): Error[] {
  const causes: Error[] = [];
  for (let each = error; each instanceof Error && causes.length < maxCauses; each = each.cause)
    causes.push(each);
  return causes;
}

const maxCauses = 8;
