import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fastifyStatic } from "@fastify/static";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { OtaError } from "../../errors.ts";
import { openHttpCall, sendFailure } from "../http/http-call.ts";
import { allowStyles } from "../http/security-headers.ts";
import type { AnswerNothing } from "../http/unrouted-requests.ts";
import type { Call } from "../pipeline/call.ts";
import type { Pipeline } from "../pipeline/pipeline.ts";

/**
 * Serves the built console from a folder: `/` and, for navigations of a browser, every path that belongs to nothing
 * else answer with its index page, which finds out by itself what to show. Files with a hash in their name may be kept
 * for ever; the index page names them and is asked for each time. Without a built console `/` says how to build it.
 * Whoever asks needs no credential, so an address may ask only so often, also for what there is not.
 */
export async function registerConsoleFiles(
  app: FastifyInstance,
  pipeline: Pipeline,
  folder: string,
  answerNothing: AnswerNothing,
): Promise<void> {
  const { count, fail } = counter(pipeline);
  const index = (request: FastifyRequest, reply: FastifyReply) => sendIndex(folder, request, reply);
  await app.register(async (scope) => {
    scope.addHook("onRequest", count);
    await scope.register(fastifyStatic, {
      root: join(folder, "assets"),
      prefix: "/assets/",
      index: false,
      // The build makes none; one that an editor or a tool left there is nobody's business.
      dotfiles: "ignore",
      immutable: true,
      maxAge: assetLifetimeMs,
      preCompressed: true,
      suppressWarning: true,
    });
    scope.get("/", index);
  });
  app.setNotFoundHandler(async (request, reply) => {
    const refused = await count(request, reply);
    if (refused !== undefined) return refused;
    if (isNavigation(request)) return index(request, reply);
    return answerNothing(request, reply, (error) => fail(request, error));
  });
}

/** Leads requests through the pipeline, once each; `count` returns the answer to one that is refused. */
function counter(pipeline: Pipeline) {
  const route = pipeline.route(
    { name: "console", access: { public: true }, rate: "page", input: undefined, streaming: false },
    "http",
  );
  const calls = new WeakMap<FastifyRequest, Call>();
  const fail = (request: FastifyRequest, error: OtaError) => route.fail(calls.get(request) as Call, error);
  const count = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    // A file that is not there was counted before it was missed.
    if (calls.has(request)) return undefined;
    const call = openHttpCall(route, "http", request, reply);
    calls.set(request, call);
    try {
      await route.admit(call);
    } catch (error) {
      return sendFailure(reply, route.fail(call, error));
    }
    reply.raw.once("close", () => route.succeed(call));
    return undefined;
  };
  return { count, fail };
}

/** A year, the longest that caches honour. */
const assetLifetimeMs = 365 * 24 * 60 * 60 * 1_000;

async function sendIndex(
  folder: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const built = await readFile(join(folder, "index.html"), "utf8").catch(() => undefined);
  // A nonce of its own for each answer: whoever gets markup into a page cannot know it.
  const nonce = randomBytes(nonceBytes).toString("base64url");
  allowStyles(nonce, request, reply);
  return reply
    .code(built === undefined ? 503 : 200)
    .header("cache-control", "no-cache")
    .type("text/html; charset=utf-8")
    .send((built ?? notBuilt).replaceAll(noncePlace, nonce));
}

const nonceBytes = 16;

/** What the build of the console writes where the nonce belongs. */
const noncePlace = "CSP_NONCE";

/** Someone who opens a deep link, not a program that asks for something that does not exist. */
function isNavigation({ method, url, headers }: FastifyRequest): boolean {
  if (method !== "GET" && method !== "HEAD") return false;
  if (headers.accept?.includes("text/html") !== true) return false;
  const [, first = ""] = /^\/([^/?]*)/.exec(url) ?? [];
  return !first.includes(".") && !machinePaths.has(first);
}

/** First segments that only programs ask for. Services of the contract have a dot in their name. */
const machinePaths = new Set(["api", "assets", "health", "metrics", "session"]);

const notBuilt = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Device OTA</title>
<style nonce="CSP_NONCE">body { font: 16px/1.5 system-ui, sans-serif; margin: 15vh auto; max-width: 36em; padding: 0 1em; color-scheme: light dark }</style>
<h1>The console is not built</h1>
<p>The service runs; its API is at <code>/api/v1</code>. To have the console here, run <code>make console</code> in the folder of the sources, which installs what building takes, then reload this page.</p>
</html>
`;
