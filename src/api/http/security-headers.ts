import type { FastifyReply, FastifyRequest, onRequestHookHandler } from "fastify";
import helmet from "helmet";

/**
 * Makes the `onRequest` hook for all doors of the HTTP port that sets the headers which tell browsers what an answer may do.
 * They are helmet's, but nothing may be framed, and the content security policy is our own. `hstsSeconds`: for how long they
 * reach this host by TLS alone (RFC 6797); 0 where the port is in clear, because whoever puts TLS before it knows whether all
 * of the host has TLS. Other hosts of the domain are never ours to promise for.
 *
 * This is helmet itself: @fastify/helmet makes all of it anew for each request, which measured 10 us of each.
 */
export function securityHeaders(hstsSeconds: number): onRequestHookHandler {
  const setHeaders = helmet({
    contentSecurityPolicy: { useDefaults: false, directives: policyOf() },
    xFrameOptions: { action: "deny" },
    strictTransportSecurity: hstsSeconds > 0 && { maxAge: hstsSeconds, includeSubDomains: false },
  });
  return (request, reply, done) =>
    setHeaders(request.raw, reply.raw, (error) => done(error as Error | undefined));
}

/** Lets the page that is the answer make style elements that name `nonce`, as the console's component library does. */
export function allowStyles(nonce: string, request: FastifyRequest, reply: FastifyReply): void {
  const setPolicy = helmet.contentSecurityPolicy({ useDefaults: false, directives: policyOf(nonce) });
  setPolicy(request.raw, reply.raw, (error) => {
    if (error !== undefined) throw error;
  });
}

/** Scripts and styles from this origin alone, and style elements with the nonce, if any (https://www.w3.org/TR/CSP3/). */
function policyOf(nonce?: string): Record<string, string[]> {
  return {
    "default-src": ["'self'"],
    "style-src": ["'self'", ...(nonce === undefined ? [] : [`'nonce-${nonce}'`])],
    "img-src": ["'self'", "data:"],
    "frame-ancestors": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'none'"],
    "object-src": ["'none'"],
  };
}
