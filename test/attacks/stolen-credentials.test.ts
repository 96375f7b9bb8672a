import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { connectClient, enrolDevice, http, mintToken, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Somebody has a copy of what an operator signed out of or revoked, and uses it at another replica. */

const cleanup = new AsyncDisposableStack();
let home: TestService;
let elsewhere: TestService;

beforeAll(async () => {
  const { url: databaseUrl } = cleanup.use(await createTestDatabase({ partitioned: true }));
  home = cleanup.use(await startTestService({ databaseUrl }));
  elsewhere = cleanup.use(await startTestService({ databaseUrl }));
});

afterAll(() => cleanup.disposeAsync());

const fromConsole = { "x-ota-console": "1" };

async function signIn(service: TestService): Promise<string> {
  const answer = await http(service, "POST", "/session", {
    body: { token: service.adminToken },
    headers: fromConsole,
  });
  expect(answer.status).toBe(200);
  return answer.headers.get("set-cookie")?.split(";")[0] ?? "";
}

async function statusWith(service: TestService, cookie: string): Promise<number> {
  const { status } = await http(service, "GET", "/api/v1/access/whoami", {
    headers: { ...fromConsole, cookie },
  });
  return status;
}

/** Opens WatchFleet as a browser of the console does, and waits for the first answer. */
async function watchWith(service: TestService, cookie: string): Promise<{ ended: Promise<string> }> {
  const response = await fetch(`${service.httpUrl}/${DeviceService.typeName}/WatchFleet`, {
    method: "POST",
    headers: {
      ...fromConsole,
      cookie,
      "content-type": "application/connect+json",
      "connect-protocol-version": "1",
    },
    body: Buffer.concat([Buffer.of(0, 0, 0, 0, 2), Buffer.from("{}")]),
  });
  const chunks = (response.body as ReadableStream<Uint8Array>)[Symbol.asyncIterator]();
  await chunks.next();
  const toTheEnd = async (): Promise<string> => {
    let text = "";
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      text += Buffer.from(next.value).toString("latin1");
    }
    return text;
  };
  return { ended: toTheEnd() };
}

describe("a copy of a session's cookie", () => {
  it("is worth nothing on any replica after its owner signed out, and its streams end", async () => {
    const cookie = await signIn(home);
    const other = await signIn(home);
    expect(await statusWith(elsewhere, cookie)).toBe(200);
    const { ended } = await watchWith(elsewhere, cookie);

    const signedOut = await http(home, "DELETE", "/session", { headers: { ...fromConsole, cookie } });
    expect(signedOut.status).toBe(200);
    expect(await statusWith(home, cookie)).toBe(401);
    await eventually(async () => expect(await statusWith(elsewhere, cookie)).toBe(401));
    expect(await ended).toContain("unauthenticated");
    expect(await statusWith(elsewhere, other)).toBe(200);
  });

  it("is worth nothing after a restart either", async () => {
    const cookie = await signIn(home);
    await http(home, "DELETE", "/session", { headers: { ...fromConsole, cookie } });
    await using restarted = await startTestService({ databaseUrl: home.databaseUrl });
    expect(await statusWith(restarted, cookie)).toBe(401);
  });
});

describe("a revoked token", () => {
  it("loses the streams that it holds open at other replicas", async () => {
    const { watchFleet } = DeviceService.method;
    const lost = await mintToken(home, Role.VIEWER);
    const grpc = elsewhere.client(lost.secret).serverStream(watchFleet, {})[Symbol.asyncIterator]();
    const connect = connectClient(elsewhere, DeviceService, lost.secret)
      .watchFleet({})
      [Symbol.asyncIterator]();
    await Promise.all([grpc.next(), connect.next()]);
    await home.client().unary(AccessService.method.revokeToken, { id: lost.id, reason: "lost" });
    for (const stream of [grpc, connect]) {
      expect(await refusal(rest(stream))).toMatchObject({
        code: "UNAUTHENTICATED",
        reason: "CREDENTIAL_REVOKED",
      });
    }
  });
});

describe("a device's token that an operator does not want any more", () => {
  const { batchUpdateDevices, getDevice, rotateDeviceToken } = DeviceService.method;
  const rotateToken = true;
  const heartbeats = [{ sequence: 1n, firmwareVersion: "1.0.0" }];

  async function directivesOf(service: TestService, token: string): Promise<(string | undefined)[]> {
    const { directives } = await service
      .client(token)
      .unary(HeartbeatService.method.sendHeartbeat, { heartbeats });
    return directives.map(({ action }) => action.case);
  }

  async function isTold(service: TestService, token: string): Promise<boolean> {
    const { checkForUpdate } = UpdateService.method;
    const check = await service.client(token).unary(checkForUpdate, { firmwareVersion: "1.0.0" });
    return check.rotateToken;
  }

  it("is exchanged by its device, which hears of it on any replica, and its thief has nothing", async () => {
    const { id, token } = await enrolDevice(home);
    expect(await isTold(elsewhere, token)).toBe(false);
    const stolen = elsewhere.client(token).bidi(HeartbeatService.method.streamHeartbeats);
    await stolen.send({ message: { case: "hello", value: { deviceId: id, firmwareVersion: "1.0.0" } } });
    const heard = stolen[Symbol.asyncIterator]();
    await heard.next();

    const ask = { deviceIds: [id], rotateToken, reason: "seen in a log" };
    expect(await home.client().unary(batchUpdateDevices, { ...ask, validateOnly: true })).toMatchObject({
      changedCount: 1n,
    });
    expect(await home.client().unary(batchUpdateDevices, ask)).toMatchObject({ changedCount: 1n });
    expect(await home.client().unary(batchUpdateDevices, ask)).toMatchObject({ changedCount: 0n });
    const { device } = await home.client().unary(getDevice, { id });
    expect(device?.tokenRotationRequestedTime).toBeDefined();
    expect((await heard.next()).value?.message.value?.action?.case).toBe("rotateToken");
    expect(await directivesOf(home, token)).toEqual(["rotateToken"]);
    await eventually(async () => expect(await isTold(elsewhere, token)).toBe(true));

    // An answer that got lost changes nothing: the device is told until it comes with a newer token.
    await home.client(token).unary(rotateDeviceToken, {});
    expect(await isTold(home, token)).toBe(true);
    const { deviceToken: next } = await elsewhere.client(token).unary(rotateDeviceToken, {});
    expect(await isTold(home, next)).toBe(false);
    expect(await refusal(rest(heard))).toMatchObject({
      code: "UNAUTHENTICATED",
      reason: "CREDENTIAL_REVOKED",
    });
    const call = () => elsewhere.client(token).unary(rotateDeviceToken, {});
    await eventually(async () =>
      expect(await refusal(call())).toMatchObject({ code: "UNAUTHENTICATED", reason: "CREDENTIAL_REVOKED" }),
    );
    const after = await home.client().unary(getDevice, { id });
    expect(after.device?.tokenRotationRequestedTime).toBeUndefined();
    const { events } = await home.client().unary(AccessService.method.listAuditEvents, {
      action: "device.request_token_rotation",
      resourceId: id,
    });
    expect(events).toMatchObject([{ reason: "seen in a log", resourceId: id }]);
  });

  it("is asked for by operators alone, of devices that have one, and not beside other changes", async () => {
    const { id, token } = await enrolDevice(home);
    const call = () => home.client(token).unary(batchUpdateDevices, { deviceIds: [id], rotateToken });
    expect(await refusal(call())).toMatchObject({ code: "PERMISSION_DENIED" });
    const both = () =>
      home.client().unary(batchUpdateDevices, { deviceIds: [id], rotateToken, addTags: ["leaked"] });
    expect(await refusal(both())).toMatchObject({ fields: ["rotate_token"] });
    await home.client().unary(DeviceService.method.resetDeviceCredential, { id });
    expect(await home.client().unary(batchUpdateDevices, { deviceIds: [id], rotateToken })).toMatchObject({
      matchedCount: 1n,
      changedCount: 0n,
    });
  });
});

async function rest(stream: AsyncIterator<unknown>): Promise<void> {
  while ((await stream.next()).done !== true);
}
