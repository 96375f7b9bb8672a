import {
  type CryptoKey,
  createLocalJWKSet,
  errors,
  type JSONWebKeySet,
  type JWTHeaderParameters,
} from "jose";
import type { ServerMetadata } from "openid-client";
import { OtaError } from "../../errors.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Logger } from "../../infra/logger.ts";
import { type IssuerLimits, readFromIssuer } from "./issuer-request.ts";

/** What an {@link Issuer} is made of. */
export interface IssuerParts {
  readonly settings: IssuerSettings;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What is said of the issuer. */
export interface IssuerSettings extends IssuerLimits {
  /** As it stands in `iss`. */
  readonly issuer: string;
  readonly refreshMs: number;
  /** The least time between two questions because of a key that it did not have. */
  readonly unknownKeyMs: number;
}

type KeyOf = ReturnType<typeof createLocalJWKSet>;

/**
 * An OpenID Connect issuer: where it is asked, and the keys that it signs with. It is asked now and then, not by calls; while it is away
 * the keys that were read last go on to count, and the service starts without it.
 */
export class Issuer {
  /** Reads what the issuer says of itself, and its keys. */
  readonly round: Round;
  readonly #settings: IssuerSettings;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #listeners: (() => void)[] = [];
  #metadata: ServerMetadata | undefined;
  #keyOf: KeyOf | undefined;
  #keys = "";
  /** When a key that nobody knows last was a reason to ask, in monotonic milliseconds. */
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor({ settings, clock, logger }: IssuerParts) {
    this.#settings = settings;
    this.#clock = clock;
    this.#logger = logger;
    this.round = new Round({
      name: "oidc_issuer",
      everyMs: settings.refreshMs,
      afterFailureMs: Math.min(settings.refreshMs, retryMs),
      work: (signal) => this.#read(signal),
      clock,
      logger,
    });
  }

  /** Begins to ask; does not wait for the answer. */
  start(): void {
    void this.round.run();
  }

  /** What the issuer says of itself. Throws `OIDC_ISSUER_UNAVAILABLE` as long as it was never read. */
  async metadata(): Promise<ServerMetadata> {
    await this.#firstRead();
    if (this.#metadata === undefined) throw this.#unavailable();
    return this.#metadata;
  }

  /**
   * The key of the issuer's set that a token's header names. What else the header holds (`jku`, `jwk`, `x5u`, `x5c`) is not looked at. For a
   * key that is not in the set the issuer is asked again, but seldom. Throws an error of jose if there is none.
   */
  async keyOf(header: JWTHeaderParameters): Promise<CryptoKey> {
    await this.#firstRead();
    if (this.#keyOf === undefined) throw this.#unavailable();
    try {
      return await this.#keyOf(header);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !(await this.#askAgain())) throw error;
      return await this.#keyOf(header);
    }
  }

  /** Tells the listener when the issuer's keys have become others. */
  onKeys(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async close(): Promise<void> {
    await this.round.close();
  }

  /** The first calls after a start wait for the issuer, as long as it is being asked. */
  async #firstRead(): Promise<void> {
    if (this.#keyOf === undefined) await this.round.idle();
  }

  async #askAgain(): Promise<boolean> {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#askedMs < this.#settings.unknownKeyMs) {
      // Whoever comes while it is being asked wants the answer, too.
      const before = this.#keys;
      await this.round.idle();
      return this.#keys !== before;
    }
    this.#askedMs = nowMs;
    await this.round.run();
    return true;
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { issuer } = this.#settings;
    const read = (url: string) => readFromIssuer(url, this.#settings, signal);
    const metadata = metadataOf(await read(discoveryUrl(issuer)), issuer);
    const keys = keysOf(await read(metadata.jwks_uri));
    const isFirst = this.#metadata === undefined;
    this.#metadata = metadata;
    const text = JSON.stringify(keys);
    if (text !== this.#keys) {
      this.#keyOf = createLocalJWKSet(keys);
      this.#keys = text;
      for (const listener of this.#listeners) listener();
    }
    if (isFirst) this.#logger.info({ issuer, keys: keys.keys.length }, "the OpenID Connect issuer answers");
  }

  #unavailable(): OtaError {
    const { issuer } = this.#settings;
    return new OtaError(
      "unavailable",
      "OIDC_ISSUER_UNAVAILABLE",
      `the issuer ${issuer} has not answered yet, so nobody can say whose token this is; tokens of the service work`,
      { metadata: { issuer }, retryAfterMs: retryMs },
    );
  }
}

/** How soon an issuer that did not answer is asked again. */
const retryMs = 5_000;

/** More than any issuer has, even in the middle of a rotation. */
const maxKeys = 100;

/** OpenID Connect Discovery 1.0, section 4. */
function discoveryUrl(issuer: string): string {
  return `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
}

/** Endpoints in clear are believed only of an issuer that is in clear itself, which is on this machine. */
function metadataOf(answer: unknown, issuer: string): ServerMetadata & { readonly jwks_uri: string } {
  const metadata = answer as Partial<ServerMetadata> | null;
  // Section 4.3: otherwise one issuer could speak for another.
  if (metadata?.issuer !== issuer)
    throw new Error(`the issuer ${issuer} calls itself ${JSON.stringify(metadata?.issuer)?.slice(0, 200)}`);
  const { jwks_uri } = metadata;
  for (const name of ["jwks_uri", "authorization_endpoint", "token_endpoint"] as const) {
    const url = metadata[name];
    if (url === undefined && name !== "jwks_uri") continue;
    if (typeof url !== "string" || !URL.canParse(url) || !isAsSecureAs(issuer, url))
      throw new Error(`the issuer ${issuer} names no usable ${name}`);
  }
  return { ...(metadata as ServerMetadata), jwks_uri: jwks_uri as string };
}

function isAsSecureAs(issuer: string, url: string): boolean {
  const { protocol } = new URL(url);
  return protocol === "https:" || (protocol === "http:" && new URL(issuer).protocol === "http:");
}

function keysOf(answer: unknown): JSONWebKeySet {
  const keys = (answer as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(keys)) throw new Error("the issuer's key set has no keys");
  // A symmetric key in it would be everybody's.
  const usable = keys.filter((key) => publicKinds.has((key as { kty?: unknown } | null)?.kty));
  if (usable.length === 0 || usable.length > maxKeys)
    throw new Error(`the issuer's key set has ${usable.length} public keys; 1 to ${maxKeys} are believed`);
  return { keys: usable };
}

/** RFC 7518, section 6, and RFC 8037, section 2. */
const publicKinds = new Set<unknown>(["RSA", "EC", "OKP"]);
