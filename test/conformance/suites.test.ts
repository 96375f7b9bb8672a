import { once } from "node:events";
import { create, toBinary } from "@bufbuild/protobuf";
import { type Client, type ServiceError, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callUnary, codecs, type Doors, metadataOf, openDoors } from "../api/doors.ts";
import { framed } from "../doors/knocking.ts";
import { GrpcWire, sendHttp } from "../doors/wire.ts";
import { conformanceEndpoints } from "./conformance-service.ts";
import { ConformanceService, UnaryRequestSchema } from "./gen/connectrpc/conformance/v1/service_pb.js";
import { StreamingInputCallRequestSchema } from "./gen/grpc/testing/messages_pb.js";
import { TestService } from "./gen/grpc/testing/test_pb.js";
import { interopEndpoints } from "./interop-service.ts";
import { SuitePipeline } from "./suite-pipeline.ts";

/**
 * What the published suites found at our doors, and cases of theirs that need no foreign client. The suites themselves are run by
 * `make conformance` (docs/doors.md).
 */

const services = [ConformanceService, TestService];
const endpoints = [
  ...conformanceEndpoints({ of: () => ({ headers: new Map(), query: undefined }) }),
  ...interopEndpoints(),
];
let doors: Doors;
/** With what the service says of errors replaced by what is asked for. */
let asking: Doors;
let client: Client;
beforeAll(async () => {
  doors = await openDoors({ services, endpoints });
  asking = await openDoors({ services, endpoints, Pipeline: SuitePipeline });
  client = asking.client("viewer");
});
afterAll(async () => {
  await doors[Symbol.asyncDispose]();
  await asking[Symbol.asyncDispose]();
});

const { method } = TestService;
const authorization = "Bearer viewer";

function pathOf({ parent, name }: { readonly parent: { readonly typeName: string }; readonly name: string }) {
  return `/${parent.typeName}/${name}`;
}

async function grpcCall(path: string, body: Uint8Array, headers: Readonly<Record<string, string>> = {}) {
  using wire = new GrpcWire(doors.grpcAddress);
  return await wire.send({ path, headers: { authorization, ...headers }, body });
}

function webCall(path: string, type: string, body: string | Uint8Array, base = doors.httpUrl) {
  const headers = { authorization, "content-type": type, "connect-protocol-version": "1" };
  return sendHttp(base, { method: "POST", path, headers, body });
}

describe("over gRPC", () => {
  it("a call that went well has no words beside its status", async () => {
    const { headers } = await grpcCall(pathOf(method.emptyCall), framed(new Uint8Array()));
    expect(headers).toMatchObject({ "grpc-status": "0", "grpc-message": "" });
  });

  it.each([
    ["that the service gives", pathOf(method.unimplementedCall)],
    ["that the library gives", pathOf(method.unaryCall)],
    ["of a method that there is not", "/grpc.testing.UnimplementedService/UnimplementedCall"],
  ])("details of an error %s are in base64 without padding", async (_name, path) => {
    // Several lengths: some need no padding.
    for (const requestId of ["a", "ab", "abc"]) {
      const body = path === pathOf(method.unaryCall) ? Buffer.alloc(0) : framed(new Uint8Array());
      const { headers, reason } = await grpcCall(path, body, { "x-request-id": requestId });
      expect(reason).toBe("UNIMPLEMENTED");
      expect(headers["grpc-status-details-bin"]).toMatch(/^[A-Za-z0-9+/]+$/);
    }
  });

  it.each([[{}], [{ "grpc-encoding": "identity" }]])(
    "a message that says it is compressed is refused where the call says %j",
    async (headers) => {
      const answer = await grpcCall(pathOf(method.emptyCall), framed(new Uint8Array(), 1), headers);
      expect(answer).toMatchObject({ code: status.INVALID_ARGUMENT, reason: "INVALID_REQUEST" });
    },
  );

  it.each([
    ["a message", 3],
    ["a message's prefix", 12],
  ])("a stream that ends in the middle of %s is refused", async (_name, missing) => {
    const payload = { body: Buffer.from("1234567") };
    const message = framed(
      toBinary(StreamingInputCallRequestSchema, create(StreamingInputCallRequestSchema, { payload })),
    );
    const sent = Buffer.concat([message, message]);
    const whole = await grpcCall(pathOf(method.streamingInputCall), sent);
    expect(whole.code).toBe(status.OK);
    const cut = await grpcCall(pathOf(method.streamingInputCall), sent.subarray(0, -missing));
    expect(cut).toMatchObject({ code: status.INVALID_ARGUMENT, reason: "INVALID_REQUEST" });
  });

  it("a unary request that ends in the middle of its message is refused", async () => {
    const cut = await grpcCall(pathOf(method.unaryCall), framed(Buffer.from("1234"), 0, 7));
    expect(cut).toMatchObject({ code: status.INVALID_ARGUMENT, reason: "INVALID_REQUEST" });
  });

  it.each(["", "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"])(
    "a status comes with its code and the words %j",
    async (message) => {
      const call = callUnary(client, method.unaryCall, { responseStatus: { code: 2, message } });
      await expect(call).rejects.toMatchObject({ code: 2, details: message });
    },
  );

  it("a large message gets a large one back", async () => {
    const { payload } = await callUnary(client, method.unaryCall, {
      responseSize: 314_159,
      payload: { body: new Uint8Array(271_828) },
    });
    expect(payload?.body.length).toBe(314_159);
  });

  it("a stream both ways answers each request before the next one comes", async () => {
    const [path, serialize, deserialize] = codecs(method.fullDuplexCall);
    const call = client.makeBidiStreamRequest(path, serialize, deserialize, metadataOf(client));
    const sizes = [31_415, 9, 2_653, 58_979];
    const received: (number | undefined)[] = [];
    const ended = new Promise<void>((resolve, reject) => {
      call.on("data", ({ payload }: { payload?: { body: Uint8Array } }) => {
        received.push(payload?.body.length);
        const size = sizes[received.length];
        if (size === undefined) call.end();
        else call.write({ responseParameters: [{ size }] });
      });
      call.on("end", resolve);
      call.on("error", reject);
    });
    call.write({ responseParameters: [{ size: sizes[0] as number }] });
    await ended;
    expect(received).toEqual(sizes);
  });

  it("a stream both ways that says nothing ends well", async () => {
    const [path, serialize, deserialize] = codecs(method.fullDuplexCall);
    const call = client.makeBidiStreamRequest(path, serialize, deserialize, metadataOf(client));
    call.on("data", () => {});
    const ended = new Promise<ServiceError | undefined>((resolve) => {
      call.on("error", resolve);
      call.on("status", ({ code }: { readonly code: number }) => {
        if (code === status.OK) resolve(undefined);
      });
    });
    call.end();
    expect(await ended).toBeUndefined();
  });
});

it("pings that follow answers of a stream, however small, are not too many", async () => {
  // A ping that counts is counted for ever.
  await using counting = await openDoors({ services, endpoints, pingMs: 1e9 });
  using wire = new GrpcWire(counting.grpcAddress);
  const { session } = wire;
  const goaways: unknown[] = [];
  session.on("goaway", (code) => goaways.push(code));
  const path = pathOf(method.fullDuplexCall);
  const call = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    authorization,
  });
  const ended = once(call, "close");
  for (let message = 0; message < 100; message++) {
    // Asks for one answer, without anything in it.
    call.write(framed(Buffer.from("1200", "hex")));
    await Promise.race([once(call, "data"), ended]);
    // As those do who measure their line: a ping for what they were sent.
    await Promise.race([new Promise<void>((resolve) => session.ping(() => resolve())), ended]);
  }
  expect(goaways).toEqual([]);
  expect(call.closed).toBe(false);
});

describe("over Connect and gRPC-Web", () => {
  it.each([
    ["application/connect+json", 505],
    ["application/connect+proto", 505],
    ["application/grpc-web+proto", 200],
  ])("a stream both ways as %s is told to come by gRPC", async (type, http) => {
    const answer = await webCall(pathOf(method.fullDuplexCall), type, framed(new Uint8Array()));
    expect(answer).toMatchObject({ status: http, code: status.UNIMPLEMENTED, reason: "UNIMPLEMENTED" });
    expect(answer.message).toContain("gRPC port");
  });

  it("gRPC-Web in a format that is not read here is UNIMPLEMENTED, as over gRPC", async () => {
    const answer = await webCall(
      pathOf(method.emptyCall),
      "application/grpc-web+foo",
      framed(new Uint8Array()),
    );
    expect(answer).toMatchObject({ status: 200, code: status.UNIMPLEMENTED, reason: "UNIMPLEMENTED" });
  });

  it("a message within an answer of Connect in JSON is written as JSON", async () => {
    const path = pathOf(ConformanceService.method.unary);
    const { body } = await webCall(path, "application/json", JSON.stringify({ requestData: "AQI=" }));
    expect(JSON.parse(body.toString())).toMatchObject({
      payload: {
        requestInfo: {
          requests: [{ "@type": `type.googleapis.com/${UnaryRequestSchema.typeName}`, requestData: "AQI=" }],
        },
      },
    });
  });

  it("details of an error that the service does not know leave as they are", async () => {
    const error = { code: "CODE_ABORTED", message: "stop" };
    const request = JSON.stringify({ responseDefinition: { error } });
    const { status: http, body } = await webCall(
      pathOf(ConformanceService.method.unary),
      "application/json",
      request,
      asking.httpUrl,
    );
    expect(http).toBe(409);
    expect(JSON.parse(body.toString())).toMatchObject({
      code: "aborted",
      message: "stop",
      details: [{ type: "connectrpc.conformance.v1.ConformancePayload.RequestInfo" }],
    });
  });
});
