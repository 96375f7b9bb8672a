import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { parseCookie, stringifySetCookie } from "cookie";
import type { FastifyRequest } from "fastify";
import type { Clock } from "../../infra/clock.ts";

/**
 * The console's sessions. A session is a cookie that holds the operator's own token and an expiry, sealed with
 * AES-256-GCM under a secret of the service. So nothing is stored, any replica can read it after any restart, and it
 * ends with the token: each call presents the token to the authenticator, which knows whether it was revoked.
 */
export class ConsoleSessions {
  readonly #key: Buffer;
  readonly #clock: Clock;

  /** Takes a secret of the service that serves nothing else. */
  constructor(secret: Uint8Array, clock: Clock) {
    this.#key = createHash("sha256").update(secret).digest();
    this.#clock = clock;
  }

  /** The `set-cookie` header that opens a session with a token, and when it ends. */
  open(request: FastifyRequest, token: string): { setCookie: string; expireTime: Date } {
    const expireTime = new Date(this.#clock.now().getTime() + sessionLifetimeMs);
    const value = this.#seal(`${expireTime.getTime()}.${token}`);
    return { setCookie: cookieHeader(request, value, sessionLifetimeMs / 1_000), expireTime };
  }

  /** The `set-cookie` header that ends a session in the browser. */
  end(request: FastifyRequest): string {
    return cookieHeader(request, "", 0);
  }

  /**
   * The `authorization` header that a request's session stands for. Undefined without a session, with one that is over
   * or was not made here, and for a request that another site could have caused ({@link isFromConsole}): a cookie is a
   * credential only where the page that sends it is ours.
   */
  authorizationOf(request: FastifyRequest): string | undefined {
    const { cookie } = request.headers;
    if (cookie === undefined || !isFromConsole(request)) return undefined;
    const sealed = parseCookie(cookie)[cookieName(request)];
    const opened = sealed === undefined ? undefined : this.#unseal(sealed);
    if (opened === undefined) return undefined;
    const dot = opened.indexOf(".");
    if (Number(opened.slice(0, dot)) <= this.#clock.now().getTime()) return undefined;
    return `Bearer ${opened.slice(dot + 1)}`;
  }

  #seal(text: string): string {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv(algorithm, this.#key, nonce);
    const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString("base64url");
  }

  #unseal(value: string): string | undefined {
    if (value.length > maxCookieLength) return undefined;
    const bytes = Buffer.from(value, "base64url");
    if (bytes.length <= nonceBytes + tagBytes) return undefined;
    const decipher = createDecipheriv(algorithm, this.#key, bytes.subarray(0, nonceBytes), {
      authTagLength: tagBytes,
    });
    decipher.setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
    try {
      return (
        decipher.update(bytes.subarray(nonceBytes + tagBytes), undefined, "utf8") + decipher.final("utf8")
      );
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
const maxCookieLength = 1_024;

const algorithm = "aes-256-gcm";
const nonceBytes = 12;
const tagBytes = 16;

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
