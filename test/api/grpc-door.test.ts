import { once } from "node:events";
import { connect, constants } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { type Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, describe, expect, it, vi } from "vitest";
import { BadRequestSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { NoOfferReason, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import {
  bidiStream,
  clientStream,
  type Endpoint,
  serverStream,
  unary,
} from "../../src/api/pipeline/endpoint.ts";
import { OtaError } from "../../src/errors.ts";
import { eventually } from "../support/eventually.ts";
import {
  callUnary,
  codecs,
  type Doors,
  type DoorsOptions,
  deviceId,
  errorInfoOf,
  metadataOf,
  openDoors,
  otherDeviceId,
  statusOf,
} from "./doors.ts";

const check = UpdateService.method.checkForUpdate;
const byDevice = { access: { device: true }, rate: "update_check" } as const;
const request = { firmwareVersion: "1.2.3" };

let doors: Doors;
afterEach(() => doors[Symbol.asyncDispose]());

async function open(endpoint: Endpoint, options: Partial<DoorsOptions> = {}) {
  doors = await openDoors({
    services: [UpdateService, HeartbeatService, FirmwareService],
    endpoints: [endpoint],
    ...options,
  });
}

function failure(call: Promise<unknown>): Promise<ServiceError> {
  return call.then(
    () => {
      throw new Error("the call succeeded");
    },
    (error: ServiceError) => error,
  );
}

/** A refusal with reason and request id, counted under its method. */
async function expectTooLarge(error: ServiceError, method: string): Promise<void> {
  const { reason, metadata } = errorInfoOf(error);
  expect(reason).toBe("MESSAGE_TOO_LARGE");
  expect(error.metadata.get("x-request-id")).toEqual([metadata["requestId"]]);
  await eventually(async () =>
    expect(await doors.metrics.text()).toContain(
      `method="ota.v1.${method}",door="grpc",code="resource_exhausted"} 1`,
    ),
  );
  expect(doors.grpc.openStreams).toBe(0);
}

/** A message in gRPC's framing. */
function framed(message: Buffer): Buffer {
  const frame = Buffer.concat([Buffer.alloc(5), message]);
  frame.writeUInt32BE(message.length, 1);
  return frame;
}

/** A gRPC call without a gRPC client, to see the bare stream. */
function rawCall(path: string, token: string) {
  const session = connect(`http://${doors.grpcAddress}`, { maxSessionMemory: 64 });
  const call = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${token}`,
  });
  return { session, call };
}

describe("a unary call over gRPC", () => {
  it("reaches the handler with the caller's identity and returns the request id", async () => {
    await open(
      unary(check, byDevice, async ({ firmwareVersion }, { identity, requestId, peer, door }) => ({
        message: [firmwareVersion, identity.kind, requestId, peer, door].join(" "),
        noOfferReason: NoOfferReason.UP_TO_DATE,
      })),
    );
    const client = doors.client("device");
    const answer = await callUnary(client, check, request, { "x-request-id": "abc-1" });
    expect(answer.message).toBe("1.2.3 device abc-1 127.0.0.1 grpc");
    const [path, serialize, deserialize] = codecs(check);
    const trailers = await new Promise<Metadata>((resolve) => {
      client
        .makeUnaryRequest(
          path,
          serialize,
          deserialize,
          request,
          metadataOf(client, { "x-request-id": "trace-7" }),
          () => {},
        )
        .on("status", ({ metadata }) => resolve(metadata));
    });
    expect(trailers.get("x-request-id")).toEqual(["trace-7"]);
  });

  it("is admitted by an identity that is looked up first", async () => {
    await open(
      unary(check, byDevice, async () => ({ message: "hello" })),
      { slowIdentity: true },
    );
    expect((await callUnary(doors.client("device"), check, request)).message).toBe("hello");
    const error = await failure(callUnary(doors.client("nobody"), check, request));
    expect(error.code).toBe(status.UNAUTHENTICATED);
  });

  it.each([
    [undefined, status.UNAUTHENTICATED, "CREDENTIAL_MISSING"],
    ["stranger", status.UNAUTHENTICATED, "CREDENTIAL_INVALID"],
    ["viewer", status.PERMISSION_DENIED, "ROLE_REQUIRED"],
  ])("as %s is refused before its request is read", async (token, code, reason) => {
    await open(unary(check, byDevice, async () => ({})));
    // An invalid request: what is wrong with it is none of a stranger's business.
    const error = await failure(callUnary(doors.client(token), check, {}));
    expect(error.code).toBe(code);
    expect(errorInfoOf(error)).toMatchObject({ reason, domain: "ota.device" });
  });

  it("names every field that breaks a rule of the contract", async () => {
    await open(unary(check, byDevice, async () => ({})));
    const error = await failure(
      callUnary(doors.client("device"), check, { batteryPercent: 120, bootId: "x".repeat(65) }),
    );
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    const bad = statusOf(error)
      .details.map((detail) => anyUnpack(detail, BadRequestSchema))
      .find(Boolean);
    expect(bad?.fieldViolations.map(({ field }) => field)).toEqual([
      "firmware_version",
      "boot_id",
      "battery_percent",
    ]);
  });

  it("refuses bytes that are no such message", async () => {
    await open(unary(check, byDevice, async () => ({})));
    const client = doors.client("device");
    const [path, , deserialize] = codecs(check);
    const error = await failure(
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          path,
          () => Buffer.from([0x0a, 0xff]),
          deserialize,
          {},
          metadataOf(client),
          (e) => (e ? reject(e) : resolve(0)),
        );
      }),
    );
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    expect(errorInfoOf(error).reason).toBe("INVALID_REQUEST");
  });

  it("refuses a message above 2 MiB, and says so as with every error", async () => {
    await open(unary(check, byDevice, async () => ({})));
    const call = callUnary(doors.client("device"), check, {
      firmwareVersion: "x".repeat(2 * 1024 * 1024 + 1),
    });
    const error = await failure(call);
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
    await expectTooLarge(error, "UpdateService/CheckForUpdate");
  });

  it("carries an error's reason, metadata, fields and pause, with broken text made whole", async () => {
    await open(
      unary(check, byDevice, async () => {
        throw new OtaError("failed_precondition", "ILLEGAL_TRANSITION", "broken \ud800 text", {
          metadata: { state: "\ud800" },
          retryAfterMs: 1_500,
        });
      }),
    );
    const error = await failure(callUnary(doors.client("device"), check, request, { "x-request-id": "r1" }));
    expect(error).toMatchObject({ code: status.FAILED_PRECONDITION, details: "broken \ufffd text" });
    expect(errorInfoOf(error).metadata).toEqual({ state: "\ufffd", requestId: "r1" });
    const pause = statusOf(error)
      .details.map((detail) => anyUnpack(detail, RetryInfoSchema))
      .find(Boolean);
    expect(pause?.retryDelay).toMatchObject({ seconds: 1n, nanos: 500_000_000 });
  });

  it("tells nothing of an unforeseen error but logs it with its stack", async () => {
    await open(
      unary(check, byDevice, async () => {
        throw new TypeError("secret detail");
      }),
    );
    const error = await failure(callUnary(doors.client("device"), check, request, { "x-request-id": "r2" }));
    expect(error.code).toBe(status.INTERNAL);
    expect(error.details).not.toContain("secret");
    expect(error.details).toContain("r2");
    expect(doors.logged.find(({ level }) => level === 50)).toMatchObject({
      requestId: "r2",
      method: "ota.v1.UpdateService/CheckForUpdate",
      err: { message: "secret detail", stack: expect.stringContaining("grpc-door.test") },
    });
  });

  it("translates low-level errors", async () => {
    await open(
      unary(check, byDevice, async () => {
        throw new Error("ECONNREFUSED");
      }),
      { translateError: (cause) => new OtaError("unavailable", "DATABASE_UNAVAILABLE", "away", { cause }) },
    );
    const error = await failure(callUnary(doors.client("device"), check, request));
    expect(errorInfoOf(error).reason).toBe("DATABASE_UNAVAILABLE");
  });

  it("is told of on the log and not on standard error, without what its headers hold", async () => {
    await open(unary(check, byDevice, async () => ({})));
    const written = vi.spyOn(console, "error").mockImplementation(() => {});
    const session = connect(`http://${doors.grpcAddress}`);
    const headers = { ":method": "POST", ":path": "/ota.v1.UpdateService/CheckForUpdate" };
    const type = { "content-type": "application/grpc", authorization: "Bearer secr\u00e4t" };
    const stream = session.request({ ...headers, ...type });
    await once(stream.end().resume(), "close");
    session.destroy();
    expect(written).not.toHaveBeenCalled();
    const lines = doors.logged.filter(({ library }) => library === "grpc-js");
    expect(lines.length).toBeGreaterThan(0);
    expect(JSON.stringify(lines)).not.toContain("secr");
  });

  it("is limited per caller", async () => {
    await open(
      unary(check, byDevice, async () => ({})),
      { rateLimits: { update_check: { calls: 2, periodMs: 3_600_000 } } },
    );
    const client = doors.client("device");
    await callUnary(client, check, request);
    await callUnary(client, check, request);
    const error = await failure(callUnary(client, check, request));
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(errorInfoOf(error).reason).toBe("RATE_LIMITED");
    const pause = statusOf(error)
      .details.map((detail) => anyUnpack(detail, RetryInfoSchema))
      .find(Boolean);
    expect(Number(pause?.retryDelay?.seconds)).toBeGreaterThan(1_000);
  });

  it("aborts its signal when the client cancels or its deadline passes", async () => {
    const reasons: string[] = [];
    await open(
      unary(check, byDevice, async (_request, { signal }) => {
        await once(signal, "abort");
        reasons.push((signal.reason as OtaError).code);
        throw signal.reason;
      }),
    );
    const client = doors.client("device");
    const [path, serialize, deserialize] = codecs(check);
    const call = client.makeUnaryRequest(path, serialize, deserialize, request, metadataOf(client), () => {});
    await eventually(() => expect(doors.grpc.openCalls).toBe(1));
    call.cancel();
    await eventually(() => expect(reasons).toEqual(["cancelled"]));
    client.makeUnaryRequest(
      path,
      serialize,
      deserialize,
      request,
      metadataOf(client),
      { deadline: Date.now() + 100 },
      () => {},
    );
    await eventually(() => expect(reasons).toEqual(["cancelled", "deadline_exceeded"]));
    await eventually(() => expect(doors.grpc.openCalls).toBe(0));
  });

  it("has the time that its client allows it, be it a month", async () => {
    await open(
      unary(check, byDevice, async () => {
        await sleep(50);
        return {};
      }),
    );
    const client = doors.client("device");
    const [path, serialize, deserialize] = codecs(check);
    const monthMs = 30 * 24 * 60 * 60 * 1_000;
    const answer = new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        serialize,
        deserialize,
        request,
        metadataOf(client),
        { deadline: Date.now() + monthMs },
        (error, message) => (error === null ? resolve(message) : reject(error)),
      );
    });
    await expect(answer).resolves.toBeDefined();
  });

  it("is counted by method, door and code", async () => {
    await open(unary(check, byDevice, async () => ({})));
    await callUnary(doors.client("device"), check, request);
    await failure(callUnary(doors.client("device"), check, {}));
    const text = await doors.metrics.text();
    const line = (code: string) =>
      `rpc_duration_seconds_count{method="ota.v1.UpdateService/CheckForUpdate",door="grpc",code="${code}"} 1`;
    expect(text).toContain(line("ok"));
    expect(text).toContain(line("invalid_argument"));
  });
});

describe("a stream over gRPC", () => {
  const stream = HeartbeatService.method.streamHeartbeats;
  const hello = (id: string) => ({ message: { case: "hello", value: { deviceId: id } } }) as const;
  const access = {
    access: {
      device: (message: { message: { case?: string | undefined; value?: unknown } }) =>
        (message.message.value as { deviceId?: string } | undefined)?.deviceId,
    },
    rate: "heartbeat",
  } as const;

  function openStream(token = "device") {
    const client = doors.client(token);
    const [path, serialize, deserialize] = codecs(stream);
    return client.makeBidiStreamRequest(path, serialize, deserialize, metadataOf(client));
  }

  it("sends its headers at once, echoes, and ends with the handler", async () => {
    await open(
      bidiStream(stream, access, async function* (requests) {
        for await (const { message } of requests) {
          yield { message: { case: "welcome" as const, value: { epoch: message.case === "hello" ? 7 : 0 } } };
        }
      }),
    );
    const call = openStream();
    const [headers] = (await once(call, "metadata")) as [Metadata];
    expect(headers.get("x-request-id")[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(doors.grpc.openStreams).toBe(1);
    call.write(hello(deviceId));
    const [answer] = (await once(call, "data")) as [{ message: { case: string } }];
    expect(answer.message.case).toBe("welcome");
    call.end();
    const [end] = (await once(call.resume(), "status")) as [{ code: number }];
    expect(end.code).toBe(status.OK);
    await eventually(() => expect(doors.grpc.openStreams).toBe(0));
  });

  it("checks each message: rules of the contract and the device's own name", async () => {
    let returned = 0;
    await open(
      bidiStream(stream, access, async function* (requests) {
        try {
          for await (const _ of requests) yield { message: { case: "ack" as const, value: {} } };
        } finally {
          returned++;
        }
      }),
    );
    for (const [message, code] of [
      [hello(otherDeviceId), status.PERMISSION_DENIED],
      [{}, status.INVALID_ARGUMENT],
    ] as const) {
      const call = openStream();
      call.write(hello(deviceId));
      await once(call, "data");
      call.write(message);
      const [error] = (await once(call.resume(), "error")) as [ServiceError];
      expect(error.code).toBe(code);
    }
    expect(returned).toBe(2);
  });

  it("ends with a message above 2 MiB, and says so as with every error", async () => {
    const ended = Promise.withResolvers<unknown>();
    await open(
      bidiStream(stream, access, async function* (requests) {
        try {
          for await (const _ of requests) yield {};
        } catch (error) {
          ended.resolve(error);
          throw error;
        }
      }),
    );
    const client = doors.client("device");
    const call = client.makeBidiStreamRequest(...codecs(stream), metadataOf(client));
    const failed = once(call.resume(), "error");
    call.write({ message: { case: "goodbye", value: {} } });
    await once(call, "data");
    call.write({ message: { case: "hello", value: { firmwareVersion: "x".repeat(2 * 1024 * 1024 + 1) } } });
    const [error] = (await failed) as [ServiceError];
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
    await expectTooLarge(error, "HeartbeatService/StreamHeartbeats");
    expect(await ended.promise).toMatchObject({ reason: "MESSAGE_TOO_LARGE" });
  });

  it("returns the handler's generator and aborts its signal when the client goes away", async () => {
    const seen: string[] = [];
    await open(
      bidiStream(stream, access, async function* (requests, { signal }) {
        signal.addEventListener("abort", () => seen.push("abort"));
        try {
          for await (const _ of requests) yield { message: { case: "ack" as const, value: {} } };
        } finally {
          seen.push("returned");
        }
      }),
    );
    const cancelled = openStream();
    cancelled.on("error", () => {});
    cancelled.write(hello(deviceId));
    await once(cancelled, "data");
    cancelled.cancel();
    await eventually(() => expect(seen).toContain("returned"));
    await eventually(() => expect(doors.grpc.openStreams).toBe(0));
    seen.length = 0;
    const { session, call } = rawCall(codecs(stream)[0], "device");
    await once(call, "response");
    call.on("error", () => {});
    session.destroy();
    await eventually(() => expect(seen.toSorted()).toEqual(["abort", "returned"]));
    await eventually(() => expect(doors.grpc.openStreams).toBe(0));
  });

  it("holds the sender back while the handler does not read", async () => {
    const gate = Promise.withResolvers<void>();
    let received = 0;
    const upload = FirmwareService.method.uploadFirmware;
    await open(
      clientStream(upload, { access: { role: "operator" }, rate: "operator" }, async (requests) => {
        await gate.promise;
        for await (const _ of requests) received++;
        return {};
      }),
    );
    const { session, call } = rawCall(codecs(upload)[0], "operator");
    try {
      const chunk = codecs(upload)[1]({
        data: new Uint8Array(64 * 1024),
      });
      const frame = framed(chunk);
      const total = 200;
      for (let i = 0; i < total; i++) call.write(frame);
      await once(call, "response");
      // Answers to pings come after what the service did with the frames before them.
      for (let i = 0; i < 50; i++) await new Promise((pong) => session.ping(pong));
      // The service took the windows of HTTP/2 and a few messages; most of the 13 MB still wait here.
      expect(call.writableLength).toBeGreaterThan((total * frame.length) / 2);
      gate.resolve();
      call.end();
      await once(call.resume(), "end");
      expect(received).toBe(total);
    } finally {
      session.destroy();
    }
  });

  it("is cut when its reader leaves it unread", async () => {
    const ended = Promise.withResolvers<unknown>();
    const download = UpdateService.method.downloadFirmware;
    await open(
      serverStream(download, { access: { device: true }, rate: "download" }, async function* () {
        try {
          for (;;) yield { message: { case: "chunk" as const, value: { data: new Uint8Array(64 * 1024) } } };
        } finally {
          ended.resolve(undefined);
        }
      }),
      { stallMs: 200 },
    );
    const { session, call } = rawCall(codecs(download)[0], "device");
    try {
      call.on("error", () => {});
      call.end(framed(codecs(download)[1]({ updateId: deviceId })));
      await once(call, "response");
      await ended.promise;
      await eventually(() => expect(doors.grpc.openStreams).toBe(0));
      // The stream itself is gone, though what it had to send was never taken.
      call.resume();
      await eventually(() => expect(call.rstCode).toBe(constants.NGHTTP2_CANCEL));
    } finally {
      session.destroy();
    }
  });

  it("is refused when too many are open", async () => {
    await open(
      bidiStream(stream, access, async function* (requests) {
        for await (const _ of requests) yield { message: { case: "ack" as const, value: {} } };
      }),
      { places: { operators: { most: 1, perCaller: 1 } } },
    );
    const first = openStream();
    await once(first, "metadata");
    const second = openStream();
    const [error] = (await once(second, "error")) as [ServiceError];
    expect(errorInfoOf(error).reason).toBe("TOO_MANY_STREAMS");
    first.end();
    await once(first.resume(), "status");
  });
});

describe("closing the gRPC door", () => {
  it("lets open calls finish within the grace time", async () => {
    const gate = Promise.withResolvers<void>();
    await open(unary(check, byDevice, async () => gate.promise.then(() => ({ message: "late" }))));
    const answer = callUnary(doors.client("device"), check, request);
    await eventually(() => expect(doors.grpc.openCalls).toBe(1));
    const closed = doors.grpc.close({ graceMs: 10_000 });
    gate.resolve();
    expect((await answer).message).toBe("late");
    await closed;
  });

  it("tells calls that do not finish that the service stops", async () => {
    await open(
      unary(check, byDevice, async (_request, { signal }) => {
        await once(signal, "abort");
        throw signal.reason;
      }),
    );
    const error = failure(callUnary(doors.client("device"), check, request));
    await eventually(() => expect(doors.grpc.openCalls).toBe(1));
    await doors.grpc.close({ graceMs: 10 });
    expect(errorInfoOf(await error).reason).toBe("SHUTTING_DOWN");
  });
});
