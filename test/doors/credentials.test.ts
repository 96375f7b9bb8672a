import { timestampDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import {
  connectClient,
  enrolDevice,
  http,
  httpRefusal,
  mintToken,
  refusal,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { query } from "../support/postgres.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { refusalsAtAllDoors } from "../support/who-am-i.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

function unauthenticated(reason: string) {
  const expected = { code: "UNAUTHENTICATED", reason, fields: [] };
  return { grpc: expected, connect: expected, rest: expected, restStatus: 401 };
}

/** Reads to the end. */
async function drain(messages: AsyncIterator<unknown>): Promise<void> {
  while ((await messages.next()).done !== true);
}

describe("credentials", () => {
  it("that nobody was given are refused", async () => {
    expect(await refusalsAtAllDoors(service, "ota_op_of-my-own-making")).toEqual(
      unauthenticated("CREDENTIAL_INVALID"),
    );
  });

  it("are required", async () => {
    using nobody = new RpcClient({ address: service.grpcAddress });
    expect(await refusal(nobody.unary(AccessService.method.whoAmI, {}))).toMatchObject({
      code: "UNAUTHENTICATED",
      reason: "CREDENTIAL_MISSING",
    });
    const rest = await http(service, "GET", "/api/v1/access/whoami");
    expect(rest.headers.get("www-authenticate")).toBe("Bearer");
    expect(httpRefusal(rest)).toMatchObject({ code: "UNAUTHENTICATED", reason: "CREDENTIAL_MISSING" });
  });

  it("of operators stop working when they expire", async () => {
    // Another one, where a busy machine did not come to it in time.
    const secret = await eventually(async () => {
      const made = await mintToken(service, Role.VIEWER, new Date(Date.now() + 1_500));
      const { actor } = await service.client(made.secret).unary(AccessService.method.whoAmI, {});
      expect(actor).toBe(`operator:${made.name}`);
      return made.secret;
    });
    await eventually(async () => {
      expect(await refusalsAtAllDoors(service, secret)).toEqual(unauthenticated("CREDENTIAL_EXPIRED"));
    });
  });

  it("of operators stop working at once when they are revoked, though they were just used", async () => {
    const { id, secret } = await mintToken(service, Role.VIEWER);
    await service.client(secret).unary(AccessService.method.whoAmI, {});
    await service.client().unary(AccessService.method.revokeToken, { id, reason: "lost" });
    expect(await refusalsAtAllDoors(service, secret)).toEqual(unauthenticated("CREDENTIAL_REVOKED"));
  });

  it("of operators stop working on another replica too, which just took them and has a stream of theirs open", async () => {
    await using replica = await startTestService({ databaseUrl: service.databaseUrl });
    const { id, secret } = await mintToken(service, Role.VIEWER);
    const there = replica.client(secret);
    const stream = there.serverStream(DeviceService.method.watchFleet, {})[Symbol.asyncIterator]();
    await Promise.all([stream.next(), there.unary(AccessService.method.whoAmI, {})]);
    await service.client().unary(AccessService.method.revokeToken, { id, reason: "lost" });
    const revoked = { code: "UNAUTHENTICATED", reason: "CREDENTIAL_REVOKED" };
    // Long before the replica would look at the token again by itself.
    await eventually(
      async () => expect(await refusal(there.unary(AccessService.method.whoAmI, {}))).toMatchObject(revoked),
      10_000,
    );
    expect(await refusal(drain(stream))).toMatchObject(revoked);
  });

  it("of operators end the streams that they opened when they are revoked or expire", async () => {
    const { watchFleet } = DeviceService.method;
    const lost = await mintToken(service, Role.VIEWER);
    const short = await mintToken(service, Role.VIEWER, new Date(Date.now() + 2_500));
    const grpc = service.client(lost.secret).serverStream(watchFleet, {})[Symbol.asyncIterator]();
    const connect = connectClient(service, DeviceService, lost.secret).watchFleet({})[Symbol.asyncIterator]();
    const expiring = service.client(short.secret).serverStream(watchFleet, {})[Symbol.asyncIterator]();
    const other = service.client().serverStream(watchFleet, {})[Symbol.asyncIterator]();
    await Promise.all([grpc.next(), connect.next(), expiring.next(), other.next()]);

    await service.client().unary(AccessService.method.revokeToken, { id: lost.id, reason: "lost" });
    const revoked = { code: "UNAUTHENTICATED", reason: "CREDENTIAL_REVOKED" };
    expect(await refusal(drain(grpc))).toMatchObject(revoked);
    expect(await refusal(drain(connect))).toMatchObject(revoked);
    expect(await refusal(drain(expiring))).toMatchObject({ ...revoked, reason: "CREDENTIAL_EXPIRED" });
    await enrolDevice(service);
    expect(await other.next()).toMatchObject({ done: false });
    await other.return?.(undefined);
  });

  it("cannot be made with a time in the past", async () => {
    expect(await refusal(mintToken(service, Role.VIEWER, new Date(Date.now() - 1_000)))).toEqual({
      code: "INVALID_ARGUMENT",
      reason: "INVALID_REQUEST",
      fields: ["expire_time"],
    });
  });

  it("of devices work for as long as DEVICE_OTA_DEVICE_TOKEN_DAYS says, from when each is made", async () => {
    await using limited = await startTestService({ settings: { DEVICE_OTA_DEVICE_TOKEN_DAYS: "60" } });
    const { id, token, tokenExpireTime } = await enrolDevice(limited);
    const next = await limited.client(token).unary(DeviceService.method.rotateDeviceToken, {});
    const days = `SELECT round(extract(epoch FROM expires_at - created_at) / 86400)::int AS days FROM device_credentials
                   WHERE device_id = $1`;
    expect(await query(limited.databaseUrl, days, [id])).toEqual([{ days: 60 }, { days: 60 }]);
    const told = [tokenExpireTime, next.tokenExpireTime].map((time) => time && timestampDate(time));
    const ends = "SELECT expires_at FROM device_credentials WHERE device_id = $1 ORDER BY expires_at";
    expect(await query(limited.databaseUrl, ends, [id])).toEqual(told.map((expires_at) => ({ expires_at })));
    const { token: endless } = await enrolDevice(service);
    expect(
      (await service.client(endless).unary(DeviceService.method.rotateDeviceToken, {})).tokenExpireTime,
    ).toBeUndefined();
  });

  it("of devices stop working when they expire", async () => {
    const device = await enrolDevice(service);
    const overdue =
      "UPDATE device_credentials SET expires_at = now() - interval '1 hour' WHERE device_id = $1";
    await query(service.databaseUrl, overdue, [device.id]);
    expect(await refusalsAtAllDoors(service, device.token)).toEqual(unauthenticated("CREDENTIAL_EXPIRED"));
  });

  it.each([
    [
      "the device is retired",
      (id: string) => service.client().unary(DeviceService.method.retireDevice, { id }),
    ],
    [
      "they are reset",
      (id: string) => service.client().unary(DeviceService.method.resetDeviceCredential, { id }),
    ],
  ])("of devices stop working at once when %s, and the open stream ends", async (_when, revoke) => {
    const device = await enrolDevice(service);
    const stream = service.client(device.token).bidi(HeartbeatService.method.streamHeartbeats);
    const answers = stream[Symbol.asyncIterator]();
    await stream.send({
      message: { case: "hello", value: { deviceId: device.id, firmwareVersion: "1.0.0" } },
    });
    expect((await answers.next()).value?.message.case).toBe("welcome");

    await revoke(device.id);

    expect(await refusal(answers.next())).toMatchObject({
      code: "UNAUTHENTICATED",
      reason: "CREDENTIAL_REVOKED",
    });
    expect(await refusalsAtAllDoors(service, device.token)).toEqual(unauthenticated("CREDENTIAL_REVOKED"));
  });
});

describe("a device that speaks for another", () => {
  const notYours = { code: "PERMISSION_DENIED", reason: "NOT_YOUR_DEVICE", fields: [] };
  const heartbeats = [{ firmwareVersion: "1.0.0" }];

  it("is refused by gRPC, in calls and on streams", async () => {
    const [device, other] = [await enrolDevice(service), await enrolDevice(service)];
    const client = service.client(device.token);
    const calls = [
      client.unary(HeartbeatService.method.sendHeartbeat, { deviceId: other.id, heartbeats }),
      client.unary(HeartbeatService.method.listHeartbeats, { deviceId: other.id }),
      client.unary(DeviceService.method.getDevice, { id: other.id }),
    ];
    for (const call of calls) expect(await refusal(call)).toEqual(notYours);
    const stream = client.bidi(HeartbeatService.method.streamHeartbeats);
    await stream.send({ message: { case: "hello", value: { deviceId: other.id } } });
    expect(await refusal(stream[Symbol.asyncIterator]().next())).toEqual(notYours);
  });

  it("is refused by Connect", async () => {
    const [device, other] = [await enrolDevice(service), await enrolDevice(service)];
    const beats = connectClient(service, HeartbeatService, device.token);
    expect(await refusal(beats.sendHeartbeat({ deviceId: other.id, heartbeats }))).toEqual(notYours);
    expect(await refusal(beats.listHeartbeats({ deviceId: other.id }))).toEqual(notYours);
    const devices = connectClient(service, DeviceService, device.token);
    expect(await refusal(devices.getDevice({ id: other.id }))).toEqual(notYours);
  });

  it("is refused by REST", async () => {
    const [device, other] = [await enrolDevice(service), await enrolDevice(service)];
    const { token } = device;
    const answers = [
      await http(service, "POST", "/api/v1/heartbeat", { token, body: { deviceId: other.id, heartbeats } }),
      await http(service, "GET", `/api/v1/heartbeat/${other.id}`, { token }),
      await http(service, "GET", `/api/v1/devices/${other.id}`, { token }),
    ];
    for (const answer of answers) {
      expect(answer.status).toBe(403);
      expect(httpRefusal(answer)).toEqual(notYours);
    }
  });

  it("learns nothing of whether the other exists", async () => {
    const [device, other] = [await enrolDevice(service), await enrolDevice(service)];
    const client = service.client(device.token);
    const refusals = [other.id, "0199aaaa-0000-7000-8000-000000000000"].map((id) =>
      client.unary(DeviceService.method.getDevice, { id }).then(
        () => "an answer",
        (error: Error) => error.message,
      ),
    );
    const [existing, missing] = await Promise.all(refusals);
    expect(existing).toBe(missing);
    expect(existing).not.toBe("an answer");
  });
});
