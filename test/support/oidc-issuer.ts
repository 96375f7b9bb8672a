import { createHash, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";

/** A key of an issuer. */
export interface IssuerKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly publicJwk: JWK;
}

/** A person who signs in at the issuer as soon as a browser comes. */
export interface IssuerPerson {
  readonly sub: string;
  readonly preferred_username?: string;
  readonly [claim: string]: unknown;
}

/**
 * An OpenID Connect issuer of a test's own: discovery, keys, and the authorization code flow with PKCE, as RFC 6749, RFC 7636 and OpenID
 * Connect Core ask of one. Whoever comes to its authorization endpoint is signed in as `person`.
 */
export class OidcIssuer implements AsyncDisposable {
  readonly clientId = "console";
  readonly clientSecret = "a-secret-of-the-client";
  readonly audience = "device-ota";
  /** What the key set has. */
  keys: IssuerKey[] = [];
  person: IssuerPerson = { sub: "nobody" };
  /** Changes what the next ID tokens say. */
  idTokenClaims: JWTPayload = {};
  /** Signs the next ID tokens instead of the issuer's first key. */
  idTokenKey: IssuerKey | undefined;
  /** How often the key set was asked for. */
  keyReads = 0;
  /** Answers instead of the issuer; undefined lets it answer. */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  readonly #codes = new Map<string, PendingCode>();
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });

  /** Its port is free again when it is closed; `port`: one that another had. */
  static async start(port = 0, keys?: IssuerKey[]): Promise<OidcIssuer> {
    const issuer = new OidcIssuer();
    issuer.keys = keys ?? [await newIssuerKey("ES256")];
    await new Promise<void>((resolve) => issuer.#server.listen(port, "127.0.0.1", resolve));
    issuer.port = (issuer.#server.address() as AddressInfo).port;
    return issuer;
  }

  /** Where it listens, or did. */
  port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.port}/realms/test`;
  }

  /** What a service is told of it. */
  get settings(): Record<string, string> {
    return {
      DEVICE_OTA_OIDC_ISSUER: this.url,
      DEVICE_OTA_OIDC_AUDIENCE: this.audience,
      DEVICE_OTA_OIDC_CLIENT_ID: this.clientId,
      DEVICE_OTA_OIDC_CLIENT_SECRET: this.clientSecret,
      DEVICE_OTA_OIDC_NAME: "Test ID",
    };
  }

  /**
   * An access token for the service, of a viewer who may see the whole fleet unless the claims say otherwise. A claim that is undefined is left
   * out.
   */
  async accessToken(
    claims: Record<string, unknown> = {},
    header: Record<string, unknown> = {},
    key = this.keys[0] as IssuerKey,
  ): Promise<string> {
    const now = Math.floor(Date.now() / 1_000);
    const payload = {
      iss: this.url,
      aud: this.audience,
      sub: "248289761001",
      preferred_username: "ada",
      roles: ["device-ota-viewer"],
      fleets: ["all"],
      iat: now,
      exp: now + 300,
      jti: randomUUID(),
      ...claims,
    };
    return await new SignJWT(JSON.parse(JSON.stringify(payload)) as JWTPayload)
      .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: "at+jwt", ...header })
      .sign(key.privateKey);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.intercept?.(request, response) === true) return;
    const url = new URL(request.url ?? "/", this.url);
    switch (url.pathname.replace("/realms/test", "")) {
      case "/.well-known/openid-configuration":
        return json(response, 200, {
          issuer: this.url,
          authorization_endpoint: `${this.url}/authorize`,
          token_endpoint: `${this.url}/token`,
          jwks_uri: `${this.url}/keys`,
          response_types_supported: ["code"],
          code_challenge_methods_supported: ["S256"],
          id_token_signing_alg_values_supported: ["ES256"],
        });
      case "/keys":
        this.keyReads++;
        return json(response, 200, { keys: this.keys.map(({ publicJwk }) => publicJwk) });
      case "/authorize":
        return this.#authorize(url.searchParams, response);
      case "/token":
        return await this.#token(new URLSearchParams(await text(request)), response);
      default:
        return json(response, 404, {});
    }
  }

  #authorize(query: URLSearchParams, response: ServerResponse): void {
    const code = randomUUID();
    this.#codes.set(code, {
      challenge: query.get("code_challenge") ?? "",
      nonce: query.get("nonce") ?? "",
      redirectUri: query.get("redirect_uri") ?? "",
      person: this.person,
    });
    const back = new URL(query.get("redirect_uri") ?? "");
    back.searchParams.set("code", code);
    back.searchParams.set("state", query.get("state") ?? "");
    response.writeHead(302, { location: back.href }).end();
  }

  async #token(form: URLSearchParams, response: ServerResponse): Promise<void> {
    const pending = this.#codes.get(form.get("code") ?? "");
    this.#codes.delete(form.get("code") ?? "");
    const challenge = createHash("sha256")
      .update(form.get("code_verifier") ?? "")
      .digest("base64url");
    const isRight =
      pending?.challenge === challenge &&
      pending.redirectUri === form.get("redirect_uri") &&
      form.get("client_id") === this.clientId &&
      form.get("client_secret") === this.clientSecret;
    if (!isRight) return json(response, 400, { error: "invalid_grant" });
    const idToken = { ...pending.person, aud: this.clientId, nonce: pending.nonce, ...this.idTokenClaims };
    return json(response, 200, {
      token_type: "Bearer",
      access_token: await this.accessToken(pending.person),
      id_token: await this.accessToken(idToken, { typ: "JWT" }, this.idTokenKey),
      expires_in: 300,
    });
  }
}

/** A key for that algorithm, with an id of its own. */
export async function newIssuerKey(alg: string, kid: string = randomUUID()): Promise<IssuerKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } };
}

interface PendingCode {
  readonly challenge: string;
  readonly nonce: string;
  readonly redirectUri: string;
  readonly person: IssuerPerson;
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
