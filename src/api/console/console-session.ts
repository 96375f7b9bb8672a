import { randomUUID } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { credentialExpired, credentialInvalid, credentialRevoked } from "../../call/bearer.ts";
import { type Identity, type Role, roles } from "../../call/identity.ts";
import type { Clock } from "../../infra/clock.ts";
import type { CallerIdentifier } from "../pipeline/call.ts";
import { type BrowserCookie, cookieHeader, cookieOf } from "./browser-cookie.ts";
import { Seal } from "./seal.ts";

/** Sessions that somebody signed out of, as all replicas know them. */
export interface EndedSessions {
  has(id: string): boolean;
  /** Ends a session, which would have ended by itself at `expiresAt`. */
  end(id: string, expiresAt: Date): Promise<void>;
  onChange(listener: () => void): void;
}

/** A person who signed in at the OpenID Connect issuer: what a session holds instead of a token. */
export interface SessionPerson {
  /** A UUID. */
  readonly personId: string;
  readonly role: Role;
  /** What its limits are called in the settings, in printable ASCII characters; undefined if it has none. */
  readonly limit?: string | undefined;
  /** When the person signed in, in milliseconds since 1970. */
  readonly signedMs: number;
}

/** Says who a person is now. Throws (or rejects with) UNAUTHENTICATED for one who is shut out, or whose sessions were ended. */
export interface SessionPeople {
  ofSession(person: SessionPerson): Identity | Promise<Identity>;
}

/** What {@link ConsoleSessions} are made of. */
export interface ConsoleSessionsParts {
  /** Of the service; serves nothing else. */
  readonly secret: Uint8Array;
  readonly clock: Clock;
  readonly ended: EndedSessions;
  /** Undefined where nobody signs in but by a token. */
  readonly people?: SessionPeople | undefined;
}

/**
 * The console's sessions. A session is a cookie that holds the operator's own token or who signed in at the issuer, an id and an expiry,
 * sealed under a secret of the service. So nothing is stored but the ids of those that were ended, any replica can read
 * it after any restart, and it ends with the token: each call presents the token to the authenticator, which knows whether it
 * was revoked. A person is looked up likewise.
 */
export class ConsoleSessions {
  readonly #seal: Seal;
  readonly #clock: Clock;
  readonly #ended: EndedSessions;
  readonly #people: SessionPeople | undefined;

  constructor({ secret, clock, ended, people }: ConsoleSessionsParts) {
    this.#seal = new Seal(secret);
    this.#clock = clock;
    this.#ended = ended;
    this.#people = people;
  }

  /** The `set-cookie` header that opens a session with a token, and when it ends. */
  open(request: FastifyRequest, token: string): { setCookie: string; expireTime: Date } {
    return this.#open(request, token, sessionLifetimeMs);
  }

  /** The `set-cookie` header that opens a session for a person, for so long. */
  openFor(request: FastifyRequest, person: SessionPerson, lifetimeMs: number): string {
    return this.#open(request, textOf(person), lifetimeMs).setCookie;
  }

  /** The `set-cookie` header with which the browser forgets its session. */
  leave(request: FastifyRequest): string {
    return cookieHeader(request, sessionCookie, "", 0);
  }

  /** Ends a request's session, if it has one, so that no copy of its cookie is worth anything on any replica. */
  async end(request: FastifyRequest): Promise<void> {
    const session = this.#unseal(sealedOf(request) ?? "");
    if (session !== undefined) await this.#ended.end(session.id, new Date(session.expiresMs));
  }

  /**
   * The `authorization` header that a request's session stands for: the sealed session, which {@link identifier} reads. Undefined
   * without a session, with one that was not made here, and for a request that another site could have caused
   * ({@link isFromConsole}): a cookie is a credential only where the page that sends it is ours.
   */
  authorizationOf(request: FastifyRequest): string | undefined {
    if (!isFromConsole(request)) return undefined;
    const sealed = sealedOf(request);
    return sealed === undefined || this.#unseal(sealed) === undefined
      ? undefined
      : `Bearer ${prefix}${sealed}`;
  }

  /**
   * Says who calls by a session, or by a token as `tokens` does. A stream is asked for its credential again and again, so it
   * ends with the session that opened it.
   */
  identifier(tokens: CallerIdentifier): CallerIdentifier {
    const ofSession = (credential: string, beforeLookUp?: () => void) => {
      const holder = this.#holderOf(credential);
      const person = personOf(holder);
      if (person === undefined) return tokens.identify(holder, beforeLookUp);
      // Nobody signs in at an issuer any more.
      if (this.#people === undefined) throw credentialInvalid();
      return this.#people.ofSession(person);
    };
    return {
      identify: (credential, beforeLookUp) =>
        credential.startsWith(prefix)
          ? ofSession(credential, beforeLookUp)
          : tokens.identify(credential, beforeLookUp),
      identifyAgain: (credential) =>
        credential.startsWith(prefix) ? ofSession(credential) : tokens.identifyAgain(credential),
      onChange: (listener) => {
        tokens.onChange(listener);
        this.#ended.onChange(listener);
      },
    };
  }

  #holderOf(credential: string): string {
    const session = this.#unseal(credential.slice(prefix.length));
    if (session === undefined) throw credentialInvalid();
    if (session.expiresMs <= this.#clock.now().getTime())
      throw credentialExpired(new Date(session.expiresMs));
    if (this.#ended.has(session.id)) throw credentialRevoked();
    return session.holder;
  }

  #open(
    request: FastifyRequest,
    holder: string,
    lifetimeMs: number,
  ): { setCookie: string; expireTime: Date } {
    const expireTime = new Date(this.#clock.now().getTime() + lifetimeMs);
    const head = Buffer.alloc(headBytes);
    head.writeUIntBE(expireTime.getTime(), 0, expiryBytes);
    Buffer.from(randomUUID().replaceAll("-", ""), "hex").copy(head, expiryBytes);
    const value = this.#seal.close(head, Buffer.from(holder, "latin1"));
    return {
      setCookie: cookieHeader(request, sessionCookie, value, Math.floor(lifetimeMs / 1_000)),
      expireTime,
    };
  }

  #unseal(value: string): Session | undefined {
    if (value.length > maxCookieLength) return undefined;
    const opened = this.#seal.open(value);
    if (opened === undefined || opened.length <= headBytes) return undefined;
    return {
      id: uuidOf(opened.subarray(expiryBytes, headBytes)),
      expiresMs: opened.readUIntBE(0, expiryBytes),
      holder: opened.toString("latin1", headBytes),
    };
  }
}

/**
 * Whether a request can only have come from a page of this origin. The header `x-ota-console` cannot be sent by forms
 * and links, and by scripts of other origins only after a preflight that this service refuses; what the browser says of
 * the sender must agree. (Browsers leave `sec-fetch-site` out on plain HTTP, and `origin` with GET.)
 */
export function isFromConsole({ headers, host }: FastifyRequest): boolean {
  if (headers[consoleHeader] === undefined) return false;
  const site = headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin") return false;
  const { origin } = headers;
  return origin === undefined || (URL.canParse(origin) && new URL(origin).host === host);
}

/** Sent by the console with every call. */
const consoleHeader = "x-ota-console";

/** A working day: long enough not to interrupt, short enough that a forgotten browser locks itself. */
const sessionLifetimeMs = 12 * 60 * 60 * 1_000;

/** Above what the longest token makes; anything longer was not made here. */
const maxCookieLength = 512;

/** Before the holder: when the session ends, in milliseconds since 1970, and its id. Short: all of it must fit a credential. */
const expiryBytes = 6;
const headBytes = expiryBytes + 16;

/** What tells a session from a token. */
const prefix = "ota_session_";

interface Session {
  /** A UUID. */
  readonly id: string;
  readonly expiresMs: number;
  /** A token, which has no blanks, or a person as {@link textOf} writes it. Printable ASCII. */
  readonly holder: string;
}

/** What limits are called stands last, and may have blanks. */
function textOf({ personId, role, signedMs, limit }: SessionPerson): string {
  return [`person ${personId} ${role} ${signedMs}`, ...(limit === undefined ? [] : [limit])].join(" ");
}

function personOf(holder: string): SessionPerson | undefined {
  const [kind, personId = "", named, signed, ...rest] = holder.split(" ");
  const role = roles.find((each) => each === named);
  if (kind !== "person" || role === undefined) return undefined;
  const limit = rest.length === 0 ? undefined : rest.join(" ");
  return { personId, role, signedMs: Number(signed), limit };
}

function uuidOf(bytes: Buffer): string {
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function sealedOf(request: FastifyRequest): string | undefined {
  return cookieOf(request, sessionCookie);
}

const sessionCookie: BrowserCookie = { name: "ota_session", sameSite: "strict" };
