import { createCipheriv, createDecipheriv, createHash, randomBytes, randomUUID } from "node:crypto";
import { parseCookie, stringifySetCookie } from "cookie";
import type { FastifyRequest } from "fastify";
import { credentialExpired, credentialInvalid, credentialRevoked } from "../../call/bearer.ts";
import type { Clock } from "../../infra/clock.ts";
import type { CallerIdentifier } from "../pipeline/call.ts";

/** Sessions that somebody signed out of, as all replicas know them. */
export interface EndedSessions {
  has(id: string): boolean;
  /** Ends a session, which would have ended by itself at `expiresAt`. */
  end(id: string, expiresAt: Date): Promise<void>;
  onChange(listener: () => void): void;
}

/** What {@link ConsoleSessions} are made of. */
export interface ConsoleSessionsParts {
  /** Of the service; serves nothing else. */
  readonly secret: Uint8Array;
  readonly clock: Clock;
  readonly ended: EndedSessions;
}

/**
 * The console's sessions. A session is a cookie that holds the operator's own token, an id and an expiry, sealed with
 * AES-256-GCM under a secret of the service. So nothing is stored but the ids of those that were ended, any replica can read
 * it after any restart, and it ends with the token: each call presents the token to the authenticator, which knows whether it
 * was revoked.
 */
export class ConsoleSessions {
  readonly #key: Buffer;
  readonly #clock: Clock;
  readonly #ended: EndedSessions;

  constructor({ secret, clock, ended }: ConsoleSessionsParts) {
    this.#key = createHash("sha256").update(secret).digest();
    this.#clock = clock;
    this.#ended = ended;
  }

  /** The `set-cookie` header that opens a session with a token, and when it ends. */
  open(request: FastifyRequest, token: string): { setCookie: string; expireTime: Date } {
    const expireTime = new Date(this.#clock.now().getTime() + sessionLifetimeMs);
    const value = this.#seal({ id: randomUUID(), expiresMs: expireTime.getTime(), token });
    return { setCookie: cookieHeader(request, value, sessionLifetimeMs / 1_000), expireTime };
  }

  /** The `set-cookie` header with which the browser forgets its session. */
  leave(request: FastifyRequest): string {
    return cookieHeader(request, "", 0);
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
    return {
      identify: (credential, beforeLookUp) =>
        tokens.identify(credential.startsWith(prefix) ? this.#tokenOf(credential) : credential, beforeLookUp),
      onChange: (listener) => {
        tokens.onChange(listener);
        this.#ended.onChange(listener);
      },
    };
  }

  #tokenOf(credential: string): string {
    const session = this.#unseal(credential.slice(prefix.length));
    if (session === undefined) throw credentialInvalid();
    if (session.expiresMs <= this.#clock.now().getTime())
      throw credentialExpired(new Date(session.expiresMs));
    if (this.#ended.has(session.id)) throw credentialRevoked();
    return session.token;
  }

  #seal({ id, expiresMs, token }: Session): string {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv(algorithm, this.#key, nonce);
    const head = Buffer.alloc(headBytes);
    head.writeUIntBE(expiresMs, 0, expiryBytes);
    Buffer.from(id.replaceAll("-", ""), "hex").copy(head, expiryBytes);
    const sealed = Buffer.concat([cipher.update(head), cipher.update(token, "latin1"), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString("base64url");
  }

  #unseal(value: string): Session | undefined {
    if (value.length > maxCookieLength) return undefined;
    const bytes = Buffer.from(value, "base64url");
    if (bytes.length <= nonceBytes + tagBytes + headBytes) return undefined;
    const decipher = createDecipheriv(algorithm, this.#key, bytes.subarray(0, nonceBytes), {
      authTagLength: tagBytes,
    });
    decipher.setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
    try {
      const opened = Buffer.concat([
        decipher.update(bytes.subarray(nonceBytes + tagBytes)),
        decipher.final(),
      ]);
      return {
        id: uuidOf(opened.subarray(expiryBytes, headBytes)),
        expiresMs: opened.readUIntBE(0, expiryBytes),
        token: opened.toString("latin1", headBytes),
      };
    } catch {
      return undefined;
    }
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

const algorithm = "aes-256-gcm";
const nonceBytes = 12;
const tagBytes = 16;

/** Before the token: when the session ends, in milliseconds since 1970, and its id. Short: all of it must fit a credential. */
const expiryBytes = 6;
const headBytes = expiryBytes + 16;

/** What tells a session from a token. */
const prefix = "ota_session_";

interface Session {
  /** A UUID. */
  readonly id: string;
  readonly expiresMs: number;
  /** Printable ASCII. */
  readonly token: string;
}

function uuidOf(bytes: Buffer): string {
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function sealedOf(request: FastifyRequest): string | undefined {
  const { cookie } = request.headers;
  return cookie === undefined ? undefined : parseCookie(cookie)[cookieName(request)];
}

/** Over TLS no other host of the domain can set a cookie with the `__Host-` prefix (RFC 6265bis, section 4.1.3.2). */
function cookieName({ protocol }: FastifyRequest): string {
  return protocol === "https" ? "__Host-ota_session" : "ota_session";
}

function cookieHeader(request: FastifyRequest, value: string, maxAge: number): string {
  return stringifySetCookie({
    name: cookieName(request),
    value,
    path: "/",
    httpOnly: true,
    sameSite: "strict",
    secure: request.protocol === "https",
    maxAge,
  });
}
