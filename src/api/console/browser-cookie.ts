import { parseCookie, stringifySetCookie } from "cookie";
import type { FastifyRequest } from "fastify";

/** A cookie of the console: no script reads it, and over TLS no plain HTTP and no other host of the domain has or sets it. */
export interface BrowserCookie {
  readonly name: string;
  /** `lax` where a browser that comes back from another site must bring it. */
  readonly sameSite: "strict" | "lax";
}

/** A cookie's value in a request; undefined if it has none. */
export function cookieOf(request: FastifyRequest, cookie: BrowserCookie): string | undefined {
  const { cookie: header } = request.headers;
  return header === undefined ? undefined : parseCookie(header)[nameFor(request, cookie)];
}

/** The `set-cookie` header for a value that lives so many seconds; 0 has the browser forget it. */
export function cookieHeader(
  request: FastifyRequest,
  cookie: BrowserCookie,
  value: string,
  maxAge: number,
): string {
  return stringifySetCookie({
    name: nameFor(request, cookie),
    value,
    path: "/",
    httpOnly: true,
    sameSite: cookie.sameSite,
    secure: request.protocol === "https",
    maxAge,
  });
}

/** Over TLS no other host of the domain can set a cookie with the `__Host-` prefix (RFC 6265bis, section 4.1.3.2). */
function nameFor({ protocol }: FastifyRequest, { name }: BrowserCookie): string {
  return protocol === "https" ? `__Host-${name}` : name;
}
