import { gzipSync } from "node:zlib";
import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { http as httpRule } from "../../gen/google/api/annotations_pb.js";
import { type HttpBinding, httpBindings } from "../../src/api/pipeline/http-binding.ts";
import type { Json } from "./hostile-requests.ts";
import { type Answer, framed, type Knocker, type Leave } from "./knocking.ts";
import type { Random } from "./random.ts";
import { damagedJson, RandomRequests } from "./random-requests.ts";
import { restRequest } from "./rest-request.ts";
import { isForDevices, type SeedRequests, seedOf } from "./seed-requests.ts";

/** What is fuzzed, and by whom. */
export interface FuzzSubjects {
  readonly methods: readonly DescMethod[];
  readonly seeds: SeedRequests;
  /** Who calls, by name; undefined: without a credential. */
  readonly tokens: Readonly<Record<string, string | undefined>>;
  /** Ids, names and versions that there are. */
  readonly known: readonly string[];
}

/** One call that was drawn. */
export interface FuzzCall {
  /** The door, the method and who calls, and what is wrong with it: enough to find it in the run of the same seed. */
  readonly what: string;
  readonly door: "gRPC" | "Connect" | "gRPC-Web" | "REST" | "HTTP";
  knock(knocker: Knocker): Promise<Answer>;
}

/** Draws calls by chance: every method in turn, by every door and caller, well or badly framed, and some taken back. */
export class FuzzCalls {
  readonly #random: Random;
  readonly #requests: RandomRequests;
  readonly #subjects: FuzzSubjects;
  #drawn = 0;

  constructor(random: Random, subjects: FuzzSubjects) {
    this.#random = random;
    this.#subjects = subjects;
    this.#requests = new RandomRequests(random, subjects.known);
  }

  next(): FuzzCall {
    const { methods } = this.#subjects;
    const method = methods[this.#drawn++ % methods.length] as DescMethod;
    const door = this.#random.below(10);
    if (door < 4) return this.#grpc(method);
    if (door < 7) return this.#connect(method);
    if (door < 9) return this.#rest(method) ?? this.#grpc(method);
    return this.#plain();
  }

  /** Half of the time whoever may call, the administrator or a device; otherwise anybody. */
  #caller(method?: DescMethod): { readonly name: string; readonly headers: Record<string, string> } {
    const random = this.#random;
    const may = method !== undefined && isForDevices(method) ? "device" : "administrator";
    const name = random.chance(0.5) ? may : random.pick(Object.keys(this.#subjects.tokens));
    const token = this.#subjects.tokens[name];
    return { name, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } };
  }

  #leave(method: DescMethod | undefined): Leave | undefined {
    const random = this.#random;
    if (random.chance(0.04)) return { afterMs: random.below(12) };
    // Watches end when somebody leaves.
    const isStream = method !== undefined && method.methodKind.endsWith("streaming");
    return isStream ? { afterAnswer: true, afterMs: 40 } : undefined;
  }

  #body(method: DescMethod): { readonly json: { readonly [name: string]: Json }; readonly bytes: Buffer } {
    const seed = seedOf(this.#subjects.seeds, method);
    const json = this.#requests.message(method.input, seed);
    const bytes =
      this.#requests.bytes(method.input, json) ?? this.#requests.bytes(method.input, seed) ?? Buffer.alloc(0);
    return { json, bytes: this.#requests.damaged(bytes) };
  }

  #grpc(method: DescMethod): FuzzCall {
    const random = this.#random;
    const caller = this.#caller(method);
    const { bytes } = this.#body(method);
    const { note, chunks, headers } = random.chance(0.75)
      ? { note: "", chunks: [framed(bytes)], headers: {} }
      : this.#oddlyFramed(bytes);
    const path = `/${method.parent.typeName}/${method.name}`;
    const odd = random.chance(0.08) ? random.pick(oddGrpcHeaders) : {};
    const leave = this.#leave(method);
    const knock = { path, headers: { ...caller.headers, ...headers, ...odd }, chunks, leave };
    return {
      what: `gRPC ${path} as ${caller.name}: ${note} ${JSON.stringify(odd)} ${Buffer.concat(chunks).toString("base64").slice(0, 400)}`,
      door: "gRPC",
      knock: (knocker) => knocker.grpc(knock),
    };
  }

  #oddlyFramed(bytes: Buffer): OddFrames {
    const random = this.#random;
    const whole = framed(bytes);
    switch (random.below(9)) {
      case 0:
        return { note: "cut", chunks: [whole.subarray(0, random.below(whole.length))], headers: {} };
      case 1:
        return { note: "longer than said", chunks: [framed(bytes, 0, random.below(20))], headers: {} };
      case 2:
        return { note: "4 GB said", chunks: [framed(bytes, 0, 2 ** 32 - 1)], headers: {} };
      case 3:
        return { note: "gzip", chunks: [framed(gzipSync(bytes), 1)], headers: { "grpc-encoding": "gzip" } };
      case 4:
        return { note: "no gzip", chunks: [framed(bytes, 1)], headers: { "grpc-encoding": "gzip" } };
      case 5:
        return { note: "unknown encoding", chunks: [framed(bytes, 1)], headers: { "grpc-encoding": "br" } };
      case 6:
        return { note: "twice", chunks: [whole, whole], headers: {} };
      case 7:
        return { note: "nothing", chunks: [], headers: {} };
      default:
        return {
          note: "byte by byte",
          chunks: [...Array.from(whole.subarray(0, 30), (byte) => Buffer.of(byte)), whole.subarray(30)],
          headers: {},
        };
    }
  }

  #connect(method: DescMethod): FuzzCall {
    const random = this.#random;
    const caller = this.#caller(method);
    const { json, bytes } = this.#body(method);
    const path = `/${method.parent.typeName}/${method.name}`;
    const isJson = random.chance(0.4);
    const message = isJson ? damagedJson(this.#requests, json) : bytes;
    const isStream = method.methodKind !== "unary";
    const isWeb = random.chance(0.3);
    let type = isStream
      ? `application/connect+${isJson ? "json" : "proto"}`
      : `application/${isJson ? "json" : "proto"}`;
    if (isWeb) type = `application/grpc-web+${isJson ? "json" : "proto"}`;
    if (random.chance(0.06)) type = random.pick(oddTypes);
    let body = isStream || isWeb ? framed(message) : message;
    const odd = random.chance(0.15) ? random.pick(oddConnectHeaders) : {};
    let packed: Readonly<Record<string, string>> = {};
    if (random.chance(0.06)) {
      body = isStream || isWeb ? framed(gzipSync(message), 1) : gzipSync(message);
      packed = isStream
        ? { "connect-content-encoding": "gzip" }
        : { "content-encoding": "gzip", "grpc-encoding": "gzip" };
    } else if ((isStream || isWeb) && Object.keys(odd).length === 0 && random.chance(0.1)) {
      body = Buffer.concat(this.#oddlyFramed(message).chunks.map((chunk) => Buffer.from(chunk)));
    }
    const asGet = !isStream && !isWeb && random.chance(0.05);
    const query = `?connect=v1&encoding=${isJson ? "json" : "proto"}&base64=1&message=${message.toString("base64url").slice(0, 4_000)}`;
    const knock = {
      method: asGet ? "GET" : "POST",
      path: asGet ? path + query : path,
      headers: {
        "connect-protocol-version": "1",
        ...caller.headers,
        ...(asGet ? {} : { "content-type": type }),
        ...packed,
        ...odd,
      },
      body: asGet ? undefined : body,
      leave: this.#leave(method),
    };
    return {
      what: `${knock.method} ${path} as ${caller.name}: ${type} ${JSON.stringify({ ...packed, ...odd })} ${body.toString("base64").slice(0, 400)}`,
      door: isWeb ? "gRPC-Web" : "Connect",
      knock: (knocker) => knocker.http(knock),
    };
  }

  #rest(method: DescMethod): FuzzCall | undefined {
    const random = this.#random;
    if (!hasOption(method, httpRule)) return undefined;
    const caller = this.#caller(method);
    const binding = random.pick(httpBindings(method, getOption(method, httpRule)));
    const { json } = this.#body(method);
    const { url, body } = this.#restUrl(binding, json);
    const verb = random.chance(0.95) ? binding.verb : random.pick(verbs);
    const type = random.pick(restTypes);
    const knock = {
      method: verb,
      path: url,
      headers: { ...caller.headers, ...(body === undefined ? {} : { "content-type": type }) },
      body: body === undefined ? undefined : this.#requests.damaged(Buffer.from(body), 4),
      leave: this.#leave(undefined),
    };
    return {
      what: `${verb} ${url.slice(0, 600)} as ${caller.name}: ${body === undefined ? "" : type} ${knock.body?.toString("latin1").slice(0, 400)}`,
      door: "REST",
      knock: (knocker) => knocker.http(knock),
    };
  }

  #restUrl(binding: HttpBinding, json: { readonly [name: string]: Json }) {
    const random = this.#random;
    const said = restRequest(binding, json);
    const invented = () => encodeURIComponent(this.#requests.text().toWellFormed().slice(0, 300));
    let url = said.url ?? binding.path.replace(/\{[^}]*\}/g, invented);
    if (random.chance(0.05)) url += `${url.includes("?") ? "&" : "?"}${random.pick(oddQueries)}`;
    return { url, body: said.body };
  }

  /** What is no method of the contract. */
  #plain(): FuzzCall {
    const random = this.#random;
    const caller = this.#caller();
    const [verb, template] = random.pick(plainRoutes);
    const path = template.replaceAll("{}", () =>
      encodeURIComponent(this.#requests.text().toWellFormed().slice(0, 300)),
    );
    const odd = random.chance(0.4) ? random.pick(oddPlainHeaders) : {};
    const body =
      verb === "POST" || verb === "PUT" ? this.#requests.damaged(Buffer.from('{"token":"x"}')) : undefined;
    const headers = {
      ...caller.headers,
      ...(body === undefined ? {} : { "content-type": random.pick(restTypes) }),
      ...odd,
    };
    const knock = { method: verb, path, headers, body, leave: this.#leave(undefined) };
    return {
      what: `${verb} ${path} as ${caller.name}: ${JSON.stringify(odd)} ${body?.toString("latin1")}`,
      door: "HTTP",
      knock: (knocker) => knocker.http(knock),
    };
  }
}

interface OddFrames {
  readonly note: string;
  readonly chunks: readonly Uint8Array[];
  readonly headers: Readonly<Record<string, string>>;
}

const oddGrpcHeaders: readonly Readonly<Record<string, string>>[] = [
  { "content-type": "application/grpc+proto" },
  { "content-type": "application/grpc+json" },
  { "content-type": "text/plain" },
  { "grpc-timeout": "0S" },
  { "grpc-timeout": "1m" },
  { "grpc-timeout": "99999999H" },
  { "grpc-timeout": "-1S" },
  { "grpc-timeout": "soon" },
  { "grpc-encoding": "identity" },
  { "grpc-accept-encoding": "br" },
  { "x-bin": "%%%" },
  { "x-request-id": "\u00e4".repeat(30) },
  { "x-long": "x".repeat(6_000) },
  { authorization: "Basic YTpi" },
  { authorization: "Bearer " },
];

const oddConnectHeaders: readonly Readonly<Record<string, string>>[] = [
  { "connect-protocol-version": "1" },
  { "connect-protocol-version": "9" },
  { "connect-timeout-ms": "0" },
  { "connect-timeout-ms": "1" },
  { "connect-timeout-ms": "99999999999999999999" },
  { "connect-timeout-ms": "soon" },
  { "content-encoding": "gzip" },
  { "content-encoding": "br" },
  { "content-encoding": "identity" },
  { "connect-accept-encoding": "zstd" },
  { "grpc-timeout": "0n" },
  { "grpc-timeout": "soon" },
  { "x-user-agent": "\u00ff" },
  { "x-request-id": "" },
  { origin: "https://elsewhere.example" },
  { authorization: "Bearer a b" },
];

const oddTypes: readonly string[] = [
  "application/json",
  "application/proto",
  "application/connect+json",
  "application/connect+proto",
  "application/grpc-web-text",
  "application/grpc-web",
  "application/grpc",
  "application/json; charset=utf-16",
  "text/plain",
  "multipart/form-data; boundary=x",
  "\u00e4",
];

const restTypes: readonly string[] = [
  "application/json",
  "application/json",
  "application/json",
  "application/json; charset=utf-8",
  "application/json; charset=latin1",
  "text/plain",
  "application/octet-stream",
];

const verbs: readonly string[] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"];

const oddQueries: readonly string[] = [
  "__proto__.x=1",
  "%ff=%00&a.b.c=1",
  "pageSize=-1&pageSize=2",
  "pageToken=%00",
  "a[b]=1",
  "=&=&&",
  "page_size=1e9",
  "x=%",
];

const plainRoutes: readonly (readonly [verb: string, path: string])[] = [
  ["GET", "/api/v1/updates/{}/content"],
  ["HEAD", "/api/v1/updates/{}/content"],
  ["GET", "/api/v1/crashLogs/{}"],
  ["POST", "/api/v1/crashLogs"],
  ["POST", "/api/v1/symbolFiles"],
  ["POST", "/api/v1/firmware/{}/attachments"],
  ["GET", "/api/v1/firmware/{}/attachments/{}"],
  ["GET", "/tuf/{}/{}"],
  ["GET", "/api/v1/heartbeat/{}/export?format=csv"],
  ["GET", "/api/v1/heartbeat/{}/export?format={}&start_time={}&end_time={}"],
  ["POST", "/session"],
  ["DELETE", "/session"],
  ["GET", "/session/options"],
  ["GET", "/session/oidc?return_to={}"],
  ["GET", "/session/oidc/callback?state={}&code={}"],
  ["GET", "/health/live"],
  ["GET", "/assets/{}"],
  ["GET", "/{}"],
  ["GET", "/api/v1/{}"],
  ["PUT", "/api/v1/{}/{}"],
];

const oddPlainHeaders: readonly Readonly<Record<string, string>>[] = [
  { "x-ota-console": "1" },
  { range: "bytes=0-" },
  { range: "bytes=-1" },
  { range: "bytes=5-2" },
  { range: "bytes=0-0,1-1" },
  { range: "bytes=99999999999999999999-" },
  { range: "lines=1" },
  { accept: "text/html" },
  { cookie: "ota_session=a" },
  { cookie: `ota_session=${"AAAA".repeat(300)}` },
  { cookie: "ota_session=%00" },
  { "if-none-match": "*" },
  { "if-range": "x" },
];
