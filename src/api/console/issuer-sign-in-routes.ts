import type { FastifyReply, FastifyRequest } from "fastify";
import { OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { RawRoute } from "../http/raw-route.ts";
import type { CallContext } from "../pipeline/endpoint.ts";
import { type BrowserCookie, cookieHeader, cookieOf } from "./browser-cookie.ts";
import type { ConsoleSessions, SessionPerson } from "./console-session.ts";
import { Seal } from "./seal.ts";

/** Signs people in at the OpenID Connect issuer. */
interface IssuerSignIn {
  /** Where to send the browser, and what it must bring back. */
  begin(redirectUrl: string): Promise<{ readonly url: URL; readonly secrets: SignInSecrets }>;
  /** Who came back to `url`. Throws an OtaError. */
  finish(url: URL, secrets: SignInSecrets): Promise<SessionPerson>;
}

/** What binds an answer of the issuer to the browser that asked. */
interface SignInSecrets {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

/** What the routes are made of. */
export interface IssuerSignInParts {
  /** Undefined: there is no issuer. */
  readonly issuer:
    | {
        readonly signIn: IssuerSignIn;
        /** What the console's button calls it. */
        readonly name: string;
        /** The claims that name roles, for those who have none. */
        readonly claims: readonly string[];
        /** The claim that names limits; undefined where nobody is limited. */
        readonly limitClaim: string | undefined;
        /** Where the issuer sends browsers back; undefined: to the address that the browser uses. */
        readonly redirectUrl: string | undefined;
        readonly sessionMs: number;
      }
    | undefined;
  readonly sessions: ConsoleSessions;
  /** Of the service; serves nothing else but sessions. */
  readonly secret: Uint8Array;
  readonly clock: Clock;
}

/**
 * Signing in to the console at the issuer. `GET /session/options` tells the console whether it can; `GET /session/oidc?return_to=/page` sends
 * the browser to the issuer, which sends it back to `GET /session/oidc/callback`, and that to the page, with the session's cookie. Whoever is
 * refused comes to the sign-in page with the reason in `sign_in_refused`.
 */
export function issuerSignInRoutes({ issuer, sessions, secret, clock }: IssuerSignInParts): RawRoute[] {
  const options: RawRoute = {
    method: "GET",
    url: "/session/options",
    access: { public: true },
    rate: "operator",
    handle: async (_request, reply) => {
      void reply.header("cache-control", "no-store");
      if (issuer === undefined) return {};
      const { name, claims, limitClaim } = issuer;
      return { issuer: { name, claims, limitClaim } };
    },
  };
  if (issuer === undefined) return [options];
  const seal = new Seal(secret, "sign-in at the issuer");
  const redirectUrlOf = ({ protocol, host }: FastifyRequest) =>
    issuer.redirectUrl ?? `${protocol}://${host}${callbackPath}`;

  const begin = async (request: FastifyRequest, reply: FastifyReply): Promise<string> => {
    const { url, secrets } = await issuer.signIn.begin(redirectUrlOf(request));
    const pending: PendingSignIn = {
      ...secrets,
      returnTo: localPath(queryOf(request).get("return_to") ?? "/"),
      expiresMs: clock.now().getTime() + pendingMs,
    };
    const value = seal.close(Buffer.from(JSON.stringify(pending)));
    void reply.header("set-cookie", cookieHeader(request, pendingCookie, value, pendingMs / 1_000));
    return url.href;
  };

  const finish = async (request: FastifyRequest, reply: FastifyReply): Promise<string> => {
    const forget = cookieHeader(request, pendingCookie, "", 0);
    void reply.header("set-cookie", forget);
    const pending = pendingOf(seal.open(cookieOf(request, pendingCookie) ?? ""), clock);
    const url = new URL(redirectUrlOf(request));
    url.search = queryOf(request).toString();
    const person = await issuer.signIn.finish(url, pending);
    // Fastify adds a set-cookie header to the one before.
    void reply.header("set-cookie", sessions.openFor(request, person, issuer.sessionMs));
    return pending.returnTo;
  };

  const route = (
    url: string,
    step: (request: FastifyRequest, reply: FastifyReply) => Promise<string>,
  ): RawRoute => ({
    method: "GET",
    url,
    access: { public: true },
    rate: "sign_in",
    handle: async (request, reply, context) => {
      void reply.header("cache-control", "no-store");
      return reply.redirect(
        await step(request, reply).catch((error: unknown) => refusedPage(error, context)),
      );
    },
  });
  return [options, route("/session/oidc", begin), route(callbackPath, finish)];
}

const callbackPath = "/session/oidc/callback";

/** Brought back from the issuer's site, so not `strict`. It opens nothing. */
const pendingCookie: BrowserCookie = { name: "ota_sign_in", sameSite: "lax" };

/** Long enough to find a password and a second factor. */
const pendingMs = 10 * 60_000;

interface PendingSignIn extends SignInSecrets {
  /** A path of this origin. */
  readonly returnTo: string;
  readonly expiresMs: number;
}

function pendingOf(opened: Buffer | undefined, clock: Clock): PendingSignIn {
  const pending = opened && (JSON.parse(opened.toString()) as PendingSignIn);
  if (pending !== undefined && pending.expiresMs > clock.now().getTime()) return pending;
  throw new OtaError(
    "unauthenticated",
    "OIDC_SIGN_IN_FAILED",
    "this browser began no sign-in, or too long ago",
  );
}

/** The console's page that says why, by the error's reason: a browser has nothing to do with JSON. */
function refusedPage(error: unknown, { logger }: CallContext): string {
  if (!(error instanceof OtaError)) throw error;
  logger.info({ reason: error.reason }, `sign-in refused: ${error.message.toWellFormed()}`);
  return `/?sign_in_refused=${error.reason}`;
}

/**
 * Of this origin, so that a link to the sign-in leads nowhere else in the end. Browsers take a path with two slashes for another host.
 */
function localPath(path: string): string {
  const here = "http://console.invalid";
  const url = path.startsWith("/") && URL.canParse(path, here) ? new URL(path, here) : undefined;
  return url?.origin === here && !url.pathname.startsWith("//") ? url.pathname + url.search : "/";
}

function queryOf({ url }: FastifyRequest): URLSearchParams {
  const start = url.indexOf("?");
  return new URLSearchParams(start < 0 ? "" : url.slice(start));
}
