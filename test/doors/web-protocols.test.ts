import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import { WhoAmIResponseSchema } from "../../gen/ota/v1/access_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import {
  WatchRolloutRequestSchema,
  WatchRolloutResponseSchema,
} from "../../gen/ota/v1/rollout_service_pb.js";
import { newContent, publish } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** The protocols of browsers, by plain HTTP as they stand on the wire, without any client library. */

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

function post(method: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>) {
  return fetch(new URL(`/ota.v1.${method}`, service.httpUrl), { method: "POST", headers, body });
}

describe("the Connect protocol", () => {
  const headers = () => ({
    "content-type": "application/json",
    "connect-protocol-version": "1",
    authorization: `Bearer ${service.adminToken}`,
  });

  it("answers a call with JSON", async () => {
    const answer = await post("AccessService/WhoAmI", "{}", headers());
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({
      role: "ROLE_ADMIN",
      actor: expect.stringMatching(/^operator:/),
    });
  });

  it("answers a refusal with its code under an HTTP status", async () => {
    const invalid = await post("FirmwareService/GetFirmware", '{"id":"1"}', headers());
    expect(invalid.status).toBe(400);
    const details = expect.arrayContaining([
      expect.objectContaining({
        type: "google.rpc.ErrorInfo",
        debug: expect.objectContaining({ reason: "INVALID_REQUEST", domain: "ota.device" }),
      }),
      expect.objectContaining({
        type: "google.rpc.BadRequest",
        debug: { fieldViolations: [expect.objectContaining({ field: "id" })] },
      }),
    ]);
    expect(await invalid.json()).toMatchObject({ code: "invalid_argument", details });
    const stranger = await post("AccessService/WhoAmI", "{}", { ...headers(), authorization: "" });
    expect(stranger.status).toBe(401);
    expect(await stranger.json()).toMatchObject({ code: "unauthenticated" });
  });
});

describe("the gRPC-Web protocol", () => {
  const headers = () => ({
    "content-type": "application/grpc-web+proto",
    "x-grpc-web": "1",
    authorization: `Bearer ${service.adminToken}`,
  });

  it("answers a call with a message and its trailers", async () => {
    const answer = await post("AccessService/WhoAmI", framed(new Uint8Array()), headers());
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("application/grpc-web+proto");
    const [message, trailers, ...more] = unframed(new Uint8Array(await answer.arrayBuffer()));
    expect(fromBinary(WhoAmIResponseSchema, message?.data ?? new Uint8Array()).actor).toMatch(/^operator:/);
    expect(trailers?.flags).toBe(trailersFlag);
    expect(Buffer.from(trailers?.data ?? []).toString()).toMatch(/^grpc-status: *0\r\n/im);
    expect(more).toEqual([]);
  });

  it("answers a refusal with its status and details", async () => {
    const answer = await post("AccessService/WhoAmI", framed(new Uint8Array()), {
      ...headers(),
      authorization: "",
    });
    expect(answer.status).toBe(200);
    const [trailers, ...more] = unframed(new Uint8Array(await answer.arrayBuffer()));
    expect(more).toEqual([]);
    const text = Buffer.from(trailers?.data ?? []).toString();
    expect(text).toMatch(/^grpc-status: *16\r$/m);
    const details = /^grpc-status-details-bin: *([\w+/=]+)\r$/m.exec(text)?.[1] ?? "";
    const status = fromBinary(StatusSchema, Buffer.from(details, "base64"));
    expect(status.code).toBe(16);
    expect(status.details.map((detail) => anyUnpack(detail, ErrorInfoSchema)?.reason)).toEqual([
      "CREDENTIAL_MISSING",
    ]);
  });

  it("streams answers, until the reader goes away", async () => {
    const firmware = await publish(service, newContent(100));
    const { rollout } = await service
      .client()
      .unary(FirmwareService.method.deployFirmware, { id: firmware.id });
    const id = rollout?.id ?? "";
    const request = framed(encoded({ id }));
    const answer = await post("RolloutService/WatchRollout", request, headers());
    const reader = answer.body?.getReader();
    let received = Buffer.alloc(0);
    while (unframed(received).length === 0) {
      const { value, done } = (await reader?.read()) ?? { done: true };
      if (done || value === undefined) throw new Error("the stream ended before its first message");
      received = Buffer.concat([received, value]);
    }
    await reader?.cancel();
    const [first] = unframed(received);
    const { rollout: seen } = fromBinary(WatchRolloutResponseSchema, first?.data ?? new Uint8Array());
    expect(seen?.id).toBe(id);
  });
});

/** The flag of a frame that holds trailers instead of a message. */
const trailersFlag = 0x80;

function encoded(request: MessageInitShape<typeof WatchRolloutRequestSchema>): Uint8Array {
  return toBinary(WatchRolloutRequestSchema, create(WatchRolloutRequestSchema, request));
}

/** Puts a message in its frame: one byte of flags, four of length. */
function framed(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(5 + message.length);
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, 5);
  return frame;
}

/** The frames that have arrived whole. */
function unframed(received: Uint8Array): { flags: number; data: Uint8Array }[] {
  const frames: { flags: number; data: Uint8Array }[] = [];
  const view = new DataView(received.buffer, received.byteOffset, received.byteLength);
  for (let at = 0; at + 5 <= received.length; ) {
    const end = at + 5 + view.getUint32(at + 1);
    if (end > received.length) break;
    frames.push({ flags: view.getUint8(at), data: received.subarray(at + 5, end) });
    at = end;
  }
  return frames;
}
