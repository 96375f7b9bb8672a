import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { DescMethod } from "@bufbuild/protobuf";
import { fromBinary, getOption, hasOption } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Client, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import type { FastifyInstance, RouteOptions } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { http as httpOption } from "../../gen/google/api/annotations_pb.js";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as AlphaReflection } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { accessRuleOf } from "../../src/api/pipeline/access-rule.ts";
import { contractServices } from "../../src/api/pipeline/endpoint-table.ts";
import { httpBindings } from "../../src/api/pipeline/http-binding.ts";
import { enrolDevice } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Nothing that can be called is without a limit: each is called until it is refused, which takes two calls here. */

const rates = [
  "API",
  "CREDENTIAL",
  "DEVICE_READ",
  "DOWNLOAD",
  "ENROL",
  "HEARTBEAT",
  "PAGE",
  "PROBE",
  "REFUSAL",
  "SIGN_IN",
  "UPDATE_CHECK",
];

/** Contracts of others that are served too. */
const others = [Health, ServerReflection, AlphaReflection].flatMap(({ methods }) => methods);

const contract = contractServices.flatMap(({ methods }) => methods);

let service: TestService;
/** Every path of the HTTP port. */
const routes: { readonly method: string; readonly url: string }[] = [];
let device: string;

beforeAll(async () => {
  const collect = (message: unknown) => {
    const { fastify } = message as { fastify: FastifyInstance };
    fastify.addHook("onRoute", ({ method, url }: RouteOptions) => {
      for (const each of [method].flat()) routes.push({ method: each, url });
    });
  };
  subscribe("fastify.initialization", collect);
  service = await startTestService({
    settings: Object.fromEntries(rates.map((rate) => [`DEVICE_OTA_RATE_LIMIT_${rate}`, "1/hour"])),
  });
  unsubscribe("fastify.initialization", collect);
  device = (await enrolDevice(service)).token;
});
afterAll(() => service[Symbol.asyncDispose]());

/** As whom a method can be called: with which tokens. */
function callersOf(method: DescMethod): (string | undefined)[] {
  const { public: isPublic, device: forDevices, role } = accessRuleOf(method);
  if (isPublic === true) return [undefined];
  return [...(forDevices === undefined ? [] : [device]), ...(role === undefined ? [] : [service.adminToken])];
}

const pathOf = (method: DescMethod) => `/${method.parent.typeName}/${method.name}`;

describe("nobody calls as often as they like", () => {
  it("any RPC by gRPC, and each refusal says when to try again", async () => {
    const client = new Client(service.grpcAddress, credentials.createInsecure());
    const unlimited: string[] = [];
    const callable = [
      ...contract.flatMap((method) => callersOf(method).map((token) => ({ method, token }))),
      ...others.map((method) => ({ method, token: undefined })),
    ];
    for (const { method, token } of callable) {
      const refusal = (await grpc(client, method, token)) ?? (await grpc(client, method, token));
      if (refusal === undefined || !hasRetryInfo(refusal))
        unlimited.push(`${pathOf(method)} ${String(refusal)}`);
    }
    client.close();
    expect(unlimited).toEqual([]);
    expect(callable.length).toBeGreaterThan(contract.length);
  });

  // What was called by gRPC counts here too, so the first call is refused.
  it("any RPC by Connect", async () => {
    const unlimited: string[] = [];
    for (const method of contract) {
      // Takes HTTP/2, which this port does not speak.
      if (method.methodKind === "bidi_streaming") continue;
      for (const token of callersOf(method)) {
        const error = await connect(method, token);
        const retry = error?.details?.find(({ type }) => type === RetryInfoSchema.typeName);
        if (
          error?.code !== "resource_exhausted" ||
          retry === undefined ||
          !delays(Buffer.from(retry.value, "base64"))
        )
          unlimited.push(`${pathOf(method)} ${JSON.stringify(error)}`);
      }
    }
    expect(unlimited).toEqual([]);
  });

  it("any RPC by REST", async () => {
    const unlimited: string[] = [];
    for (const method of contract.filter((each) => hasOption(each, httpOption))) {
      for (const { verb, path } of httpBindings(method, getOption(method, httpOption))) {
        for (const token of callersOf(method)) {
          const url = path.replaceAll(/\{[^}]*\}/g, "x");
          if (!(await isRefused(verb, url, token))) unlimited.push(`${verb} ${path}`);
        }
      }
    }
    expect(unlimited).toEqual([]);
  });

  it("any other path, nor paths where there is nothing", async () => {
    const unlimited: string[] = [];
    const isRpc = new Set([...contract, ...others].map(pathOf));
    // What fetch cannot send comes to the same handler as what it can.
    const unsendable = new Set(["TRACE", "CONNECT"]);
    const paths = routes.filter(({ method, url }) => !isRpc.has(url) && !unsendable.has(method));
    expect(paths.map(({ url }) => url)).toEqual(
      expect.arrayContaining(["/metrics", "/session", "/", "/assets/*"]),
    );
    for (const { method, url } of [
      ...paths,
      { method: "GET", url: "/nothing" },
      { method: "POST", url: "/nothing/else" },
    ]) {
      const path = url.replaceAll(/:\w+/g, "x").replaceAll("*", "x");
      const refused =
        (await isRefused(method, path, service.adminToken)) ||
        (await isRefused(method, path, service.adminToken));
      if (!refused) unlimited.push(`${method} ${url}`);
    }
    expect(unlimited).toEqual([]);
  });
});

/** The refusal for want of calls, if it is one. The wire of a call is the same whatever streams. */
function grpc(
  client: Client,
  method: DescMethod,
  token: string | undefined,
): Promise<ServiceError | undefined> {
  const metadata = new Metadata();
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  const call = client.makeBidiStreamRequest(pathOf(method), same, same, metadata, {
    deadline: Date.now() + 20_000,
  });
  return new Promise((resolve) => {
    call.on("metadata", () => {
      resolve(undefined);
      call.cancel();
    });
    call.on("error", (error: ServiceError) =>
      resolve(error.code === status.RESOURCE_EXHAUSTED ? error : undefined),
    );
    call.resume();
    call.write(Buffer.alloc(0));
    call.end();
  });
}

function hasRetryInfo({ metadata }: ServiceError): boolean {
  const [bytes] = metadata.get("grpc-status-details-bin");
  const { details } = fromBinary(StatusSchema, bytes as Buffer);
  return details.some((detail) => anyUnpack(detail, RetryInfoSchema)?.retryDelay !== undefined);
}

function delays(bytes: Uint8Array): boolean {
  return fromBinary(RetryInfoSchema, bytes).retryDelay !== undefined;
}

interface ConnectError {
  readonly code: string;
  readonly details?: { readonly type: string; readonly value: string }[];
}

async function connect(method: DescMethod, token: string | undefined): Promise<ConnectError | undefined> {
  const streams = method.methodKind !== "unary";
  const response = await fetch(service.httpUrl + pathOf(method), {
    method: "POST",
    headers: {
      "content-type": streams ? "application/connect+json" : "application/json",
      "connect-protocol-version": "1",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: streams ? Buffer.from("\0\0\0\0\u0002{}") : "{}",
    signal: AbortSignal.timeout(20_000),
  });
  const text = await response.text();
  // The last envelope of a stream: five bytes, and JSON.
  return streams ? JSON.parse(text.slice(text.indexOf("{"))).error : JSON.parse(text);
}

/** Whether a call by HTTP is refused for want of calls, and says when to try again. */
async function isRefused(method: string, path: string, token: string | undefined): Promise<boolean> {
  const response = await fetch(service.httpUrl + path, {
    method,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(20_000),
    redirect: "manual",
  });
  const text = await response.text();
  const saysWhen = Number(response.headers.get("retry-after")) > 0;
  const saysWhy = method === "HEAD" || text.includes('"RATE_LIMITED"');
  return response.status === 429 && saysWhen && saysWhy;
}

function same(bytes: Buffer): Buffer {
  return bytes;
}
