import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { getOption, hasOption } from "@bufbuild/protobuf";
import type { FastifyInstance, RouteOptions } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { http as httpOption } from "../../gen/google/api/annotations_pb.js";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as AlphaReflection } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import type { ApiDescription } from "../../src/api/openapi/document.ts";
import { contractServices } from "../../src/api/pipeline/endpoint-table.ts";
import { httpBindings } from "../../src/api/pipeline/http-binding.ts";
import { enrolDevice, type HttpAnswer, http, newContent, publish } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { DescribedApi, type DescribedOperation, type DescribedRequest } from "./described-api.ts";
import { type SeedRequest, seedRequests } from "./seed-requests.ts";

/** The description of the API is true: what it says is served, as it says, and nothing else is. */

const rates = ["API", "CREDENTIAL", "DEVICE_READ", "DOWNLOAD", "HEARTBEAT", "PAGE", "REFUSAL", "SIGN_IN"];

const contract = contractServices.flatMap(({ methods }) => methods);

/** Contracts of others that are served too. */
const others = [Health, ServerReflection, AlphaReflection].flatMap(({ methods }) => methods);

let service: TestService;
let api: DescribedApi;
/** Every path of the HTTP port but those of the doors. */
const rawRoutes: string[] = [];
let seeds: ReturnType<typeof seedRequests>;
let device: string;

beforeAll(async () => {
  const collect = (message: unknown) => {
    const { fastify } = message as { fastify: FastifyInstance };
    fastify.addHook("onRoute", ({ method, url }: RouteOptions) => {
      if ([method].flat().includes("GET")) rawRoutes.push(`GET ${url}`);
      else rawRoutes.push(...[method].flat().map((each) => `${each} ${url}`));
    });
  };
  subscribe("fastify.initialization", collect);
  service = await startTestService({
    settings: Object.fromEntries(rates.map((rate) => [`DEVICE_OTA_RATE_LIMIT_${rate}`, "off"])),
  });
  unsubscribe("fastify.initialization", collect);
  api = new DescribedApi((await http(service, "GET", "/openapi.json")).body as ApiDescription);
  const enrolled = await enrolDevice(service);
  device = enrolled.token;
  const other = await enrolDevice(service);
  const firmware = await publish(service, newContent(100));
  const create = RolloutService.method.createRollout;
  const { rollout } = await service.client().unary(create, { firmwareId: firmware.id });
  seeds = seedRequests({
    enrolmentKey: service.enrolmentKey,
    device: enrolled.id,
    other: other.id,
    firmware: firmware.id,
    rollout: rollout?.id ?? "",
  });
});
afterAll(() => service[Symbol.asyncDispose]());

it("describes every route of the HTTP port, and none that there is not", () => {
  const described = new Set(api.operations.map(({ name }) => name.replaceAll(/\{\w+\}/g, "{}")));
  const isRpc = new Set([...contract, ...others].map(({ parent }) => `/${parent.typeName}/:method`));
  const bound = contract
    .filter((method) => hasOption(method, httpOption))
    .flatMap((method) => httpBindings(method, getOption(method, httpOption)))
    .map(({ verb, path }) => `${verb} ${path.replaceAll(/\{\w+(=\*)?\}/g, "{}")}`);
  const raw = rawRoutes
    .filter((route) => !/^(HEAD|OPTIONS) /.test(route) && !isRpc.has(route.replace(/^\w+ /, "")))
    .filter((route) => !["GET /", "GET /assets/*", "GET /api/*"].includes(route))
    .map((route) => route.replaceAll(/:\w+/g, "{}"));
  // Without an issuer nobody signs in there.
  const withIssuer = ["GET /session/oidc", "GET /session/oidc/callback"];
  expect([...described].toSorted()).toEqual([...new Set([...bound, ...raw, ...withIssuer])].toSorted());
  expect(bound.length).toBeGreaterThan(120);
  expect(raw.length).toBeGreaterThan(15);
});

describe("the page for people", () => {
  it("has a place for every operation and schema, and no link that leads nowhere", async () => {
    const { status, headers, body } = await http(service, "GET", "/docs");
    expect(status).toBe(200);
    expect(headers.get("content-security-policy")).toContain("default-src 'self'");
    const places = new Set(Array.from((body as string).matchAll(/ id="([^"]+)"/g), ([, id]) => id));
    const links = Array.from((body as string).matchAll(/ href="#([^"]+)"/g), ([, id]) => id);
    expect(links.filter((id) => !places.has(id))).toEqual([]);
    expect(api.operations.filter(({ operation }) => !links.includes(operation.operationId))).toEqual([]);
  });

  it("cannot run anything, and would refuse it", async () => {
    const { headers, body } = await http(service, "GET", "/docs");
    expect(headers.get("content-security-policy")).not.toContain("unsafe");
    expect(body).not.toMatch(/<script|<style|javascript:|\son\w+=|\sstyle=/i);
  });

  it("is sent again only when it changes, and compressed to whom wants that", async () => {
    const first = await http(service, "GET", "/docs", { headers: { "accept-encoding": "gzip" } });
    expect(first.headers.get("content-encoding")).toBe("gzip");
    const plain = await http(service, "GET", "/docs", { headers: { "accept-encoding": "gzip;q=0" } });
    expect(plain.headers.get("content-encoding")).toBeNull();
    expect(plain.body).toBe(first.body);
    const etag = first.headers.get("etag") ?? "";
    const again = await http(service, "GET", "/docs", { headers: { "if-none-match": etag } });
    expect(again).toMatchObject({ status: 304, body: "" });
  });
});

describe("every operation", () => {
  it("takes what the description says that it takes, and answers as it says", async () => {
    const faults: string[] = [];
    const made = new Map<string, unknown>();
    let done = 0;
    for (const described of served().toSorted((a, b) => turnOf(a) - turnOf(b))) {
      const request = api.request(described, valuesFor(described, made));
      const unfit = api.bodyFaults(described, request.body);
      const answer = await send(described, request);
      faults.push(
        ...unfit.map((fault) => `${described.name} takes ${fault}`),
        ...faultsOf(described, answer),
      );
      if (answer.status >= 300) continue;
      done += 1;
      const id = madeId(answer);
      if (id !== undefined && !described.path.includes("{")) made.set(described.path, id);
    }
    expect(faults).toEqual([]);
    // The others are refused for what there is: nobody signs in, no device has crashed.
    expect(done).toBeGreaterThan((api.operations.length * 2) / 3);
  });

  it("asks for a credential, if the description says so", async () => {
    const faults: string[] = [];
    for (const described of served()) {
      const answer = await send(described, api.request(described, seedFor(described)), "");
      faults.push(...faultsOf(described, answer));
      const isOpen = described.operation.security.length === 0;
      const challenge = answer.headers.get("www-authenticate");
      if (isOpen ? answer.status === 401 : answer.status !== 401 || challenge !== "Bearer")
        faults.push(`${described.name}: ${answer.status} without a credential`);
    }
    expect(faults).toEqual([]);
  });

  it("refuses what breaks a rule of the description, and says so as described", async () => {
    const faults: string[] = [];
    let broken = 0;
    for (const described of served()) {
      for (const { what, request } of api.brokenRequests(described, seedFor(described))) {
        broken += 1;
        const answer = await send(described, request);
        faults.push(...faultsOf(described, answer));
        // A device that names another one is refused for that first.
        if (answer.status !== 400 && answer.status !== 403)
          faults.push(`${described.name} ${what}: ${answer.status}`);
      }
    }
    expect(faults).toEqual([]);
    expect(broken).toBeGreaterThan(500);
  });
});

/** What is there without an issuer. */
function served(): DescribedOperation[] {
  return api.operations.filter(({ path }) => !path.startsWith("/session/oidc"));
}

/** Things are made before they are used, and used before they are ended. */
function turnOf({ verb, path }: DescribedOperation): number {
  if (verb === "POST" && !/[{:]/.test(path)) return 0;
  if (path.endsWith(":start")) return 1;
  if (path.endsWith(":pause")) return 2;
  return verb === "DELETE" || /:(?:abort|archive|retire|revoke)$/.test(path) ? 4 : 3;
}

/** The seed of an operation; where that names nobody, what an operation before has made there. */
function valuesFor(described: DescribedOperation, made: ReadonlyMap<string, unknown>): SeedRequest {
  const seed = seedFor(described);
  const [collection = ""] = described.path.split("/{id}");
  const id = made.get(collection);
  return seed["id"] === nobody() && typeof id === "string" ? { ...seed, id } : seed;
}

/** An id that there is not. */
function nobody() {
  return (seeds["WebhookService/DeleteWebhook"] as SeedRequest)["id"];
}

function madeId({ body }: HttpAnswer): unknown {
  const [made] = Object.values((typeof body === "object" ? body : {}) as Record<string, { id?: unknown }>);
  return made?.id;
}

function seedFor({ operation }: DescribedOperation): SeedRequest {
  const seed = seeds[operation.operationId.replace("_", "/").replace(/_\d+$/, "")] ?? {};
  return typeof seed === "function" ? seed() : seed;
}

/** As whoever may call. */
function tokenFor({ operation }: DescribedOperation): string {
  const roles = operation["x-roles"];
  if (roles.length === 0) return "";
  return roles.includes("admin") ? service.adminToken : device;
}

/** Without a credential if the token is empty. */
function send(described: DescribedOperation, { url, body }: DescribedRequest, token = tokenFor(described)) {
  const options = { ...(token === "" ? {} : { token }), ...(body === undefined ? {} : { body }) };
  return http(service, described.verb, url, options);
}

function faultsOf(described: DescribedOperation, answer: HttpAnswer): string[] {
  return api
    .answerFaults(described, answer)
    .map((fault) => `${described.name} answers ${answer.status}: ${fault}`);
}
