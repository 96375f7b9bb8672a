import type { FastifyReply, FastifyRequest } from "fastify";
import { maxSecretLength } from "../../call/bearer.ts";
import type { Identity } from "../../call/identity.ts";
import { invalidArgument, OtaError } from "../../errors.ts";
import type { RawRoute } from "../http/raw-route.ts";
import { type ConsoleSessions, isFromConsole } from "./console-session.ts";

/** Says who holds a token; throws or rejects with UNAUTHENTICATED. */
type Identify = (token: string) => Identity | Promise<Identity>;

/**
 * Signing in and out of the console: `POST /session` with `{"token": "…"}` sets the session cookie, `DELETE /session`
 * ends the session and removes the cookie. Both only answer the console's own pages, so that no other site can sign anybody in or out.
 */
export function sessionRoutes(sessions: ConsoleSessions, identify: Identify): RawRoute[] {
  return [
    {
      method: "POST",
      url: "/session",
      access: { public: true },
      rate: "sign_in",
      bodyLimit: maxBodyBytes,
      handle: async (request, reply) => {
        requireConsole(request);
        const token = tokenOf(request.body);
        const identity = await identify(token);
        if (identity.kind !== "operator") {
          throw new OtaError(
            "permission_denied",
            "ROLE_REQUIRED",
            "only an operator's token opens the console",
          );
        }
        const { setCookie, expireTime } = sessions.open(request, token);
        answer(reply, setCookie);
        return { expireTime: expireTime.toISOString() };
      },
    },
    {
      method: "DELETE",
      url: "/session",
      access: { public: true },
      rate: "operator",
      handle: async (request, reply) => {
        requireConsole(request);
        // The browser forgets it also where nobody can be told that it ended.
        answer(reply, sessions.leave(request));
        await sessions.end(request);
        return {};
      },
    },
  ];
}

/** A token and the JSON around it. */
const maxBodyBytes = 1_024;

function requireConsole(request: FastifyRequest): void {
  if (isFromConsole(request)) return;
  throw new OtaError(
    "permission_denied",
    "CROSS_SITE_REQUEST",
    "sessions are opened and ended by the console's own pages",
  );
}

function tokenOf(body: unknown): string {
  const token = typeof body === "object" && body !== null && "token" in body ? body.token : undefined;
  if (typeof token !== "string") throw invalidArgument("token", "is required");
  const trimmed = token.trim();
  if (trimmed.length === 0 || trimmed.length > maxSecretLength || !/^[!-~]+$/.test(trimmed)) {
    throw invalidArgument("token", "must be a token of this service");
  }
  return trimmed;
}

function answer(reply: FastifyReply, setCookie: string): void {
  void reply.header("set-cookie", setCookie).header("cache-control", "no-store");
}
