import type { IncomingMessage } from "node:http";
import type { FastifyInstance } from "fastify";
import { OtaError } from "../../errors.ts";
import type { Pipeline } from "../pipeline/pipeline.ts";
import { openHttpCall, sendFailure } from "./http-call.ts";

/**
 * The path and query of a request: what proxies are sent, `http://host/path`, stands for the path here too (RFC 9112,
 * section 3.2.2). A target that names a user, or no host, stays as it is, and is refused.
 */
export function originForm({ url = "/" }: { readonly url?: string | undefined }): string {
  const host = hostOf(url);
  if (host === undefined) return url;
  const path = url.slice(url.indexOf("//") + 2 + host.length);
  return path.startsWith("/") ? path : `/${path}`;
}

/**
 * Refuses requests in which two readers could see two targets, whatever they are for: with several `host` headers, with
 * one that is no host, or with an absolute target that is no URL of a host (RFC 9112, section 3.2).
 */
export function refuseUnclearTargets(app: FastifyInstance, pipeline: Pipeline): void {
  const route = pipeline.route(
    { name: "unknown", access: { public: true }, rate: "page", input: undefined, streaming: false },
    "http",
  );
  app.addHook("onRequest", async (request, reply) => {
    const fault = faultOf(request.raw);
    if (fault === undefined) {
      // The host of the target counts then, and not that of the header.
      request.raw.headers.host = hostOf(request.originalUrl) ?? request.raw.headers.host;
      return undefined;
    }
    const call = openHttpCall(route, "http", request, reply);
    const error = new OtaError("invalid_argument", "INVALID_REQUEST", fault);
    // Whatever still comes by this connection may be meant for somebody else.
    return sendFailure(reply.header("connection", "close"), route.fail(call, error));
  });
}

function faultOf({ url = "/", headers, rawHeaders }: IncomingMessage): string | undefined {
  // Node keeps the first one and drops the others.
  const hosts = rawHeaders.filter((name, place) => place % 2 === 0 && name.toLowerCase() === "host");
  if (hosts.length > 1) return `the request has ${hosts.length} host headers`;
  // It is empty where the target has no authority.
  if (headers.host !== undefined && headers.host !== "" && !isHost(headers.host)) {
    return "the host header is no host";
  }
  if (url.startsWith("/") || url === "*") return undefined;
  return "the request's target is neither a path nor the URL of a host";
}

/** The host, and port, in an absolute target; undefined in any other. */
function hostOf(url: string): string | undefined {
  const [scheme] = schemeOfWeb.exec(url) ?? [];
  if (scheme === undefined) return undefined;
  const [host = ""] = url.slice(scheme.length).split(/[/?#]/, 1);
  return isHost(host) ? host : undefined;
}

/** The path of a request's target, without its query. */
export function pathOf(url = "/"): string {
  const query = url.indexOf("?");
  return query === -1 ? url : url.slice(0, query);
}

/** A host with or without a port, and no user before it (RFC 3986, section 3.2), that can be part of a URL. */
function isHost(text: string): boolean {
  return hostAndPort.test(text) && URL.canParse(`http://${text}`);
}

const hostAndPort = /^(?:\[[\da-f:.]{2,45}\]|[\w.~!$&'()*+,;=%-]{1,255})(?::\d{0,5})?$/i;

const schemeOfWeb = /^https?:\/\//i;
