import { request } from "node:http";
import { text } from "node:stream/consumers";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import {
  type EnrolledDevice,
  enrolDevice,
  http,
  httpRefusal,
  newContent,
  publish,
  refusal,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { query } from "../support/postgres.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { metric } from "../support/streaming-device.ts";

/** Somebody waits for an update with a credential that ends meanwhile, or takes the places of others who would wait. */

const cleanup = new AsyncDisposableStack();
/** Where operators call, and where devices do. */
let home: TestService;
let elsewhere: TestService;

const perAddress = 3;
// No check comes to its end by itself while a test goes on.
const settings = {
  DEVICE_OTA_HEARTBEAT_INTERVAL_SECONDS: "3600",
  DEVICE_OTA_UPDATE_CHECK_WAIT_SECONDS: "3600",
  DEVICE_OTA_MAX_WAITING_CHECKS_PER_ADDRESS: String(perAddress),
};

beforeAll(async () => {
  home = cleanup.use(await startTestService({ settings }));
  const { databaseUrl, dataDir } = home;
  elsewhere = cleanup.use(
    await startTestService({ databaseUrl, settings: { ...settings, DEVICE_OTA_DATA_DIR: dataDir } }),
  );
});
afterAll(() => cleanup.disposeAsync());

const untilWaiting = (count: number) =>
  eventually(async () => {
    expect(await metric(elsewhere.httpUrl, "device_ota_waiting_update_checks")).toBe(count);
  });

const path = "/api/v1/updates:check";
const body = { firmwareVersion: "1.0.0", bootId: "boot 1" };
const wait = durationFromMs(3_600_000);
const prefer = "wait=3600";

const byGrpc = (token: string, signal?: AbortSignal) =>
  elsewhere.client(token).unary(UpdateService.method.checkForUpdate, { ...body, wait }, signal && { signal });
const byRest = (token: string) => http(elsewhere, "POST", path, { token, body, headers: { prefer } });

/** A check from another address of this machine. */
async function fromAfar(token: string) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", prefer };
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const call = request(
    new URL(path, elsewhere.httpUrl),
    { method: "POST", headers, localAddress: "127.0.0.2" },
    (answer) => void text(answer).then(resolve, reject),
  );
  call.on("error", reject);
  call.end(JSON.stringify(body));
  return JSON.parse(await promise);
}

/** Deploys firmware for the devices of a type. */
async function newFirmware(deviceType: string): Promise<void> {
  const { id } = await publish(home, newContent(), { version: "2.0.0", deviceTypes: [deviceType] });
  const rings = [{ name: "all", percent: 100 }];
  await home.client().unary(FirmwareService.method.deployFirmware, { id, rings });
}

const { batchUpdateDevices, resetDeviceCredential, rotateDeviceToken } = DeviceService.method;

/** A device exchanges its token at home, and comes there with the next one. */
async function exchangeToken({ token }: EnrolledDevice): Promise<void> {
  const { deviceToken } = await home.client(token).unary(rotateDeviceToken, {});
  await home.client(deviceToken).unary(UpdateService.method.checkForUpdate, body);
}

describe("a check that waits at another replica, by gRPC and by REST", () => {
  it.each([
    [
      "CREDENTIAL_REVOKED",
      "an operator took the credential away",
      ({ id }: EnrolledDevice) => home.client().unary(resetDeviceCredential, { id, reason: "it was stolen" }),
    ],
    [
      "CREDENTIAL_REVOKED",
      "the device exchanged a token that an operator did not want any more",
      async (device: EnrolledDevice) => {
        await home
          .client()
          .unary(batchUpdateDevices, { deviceIds: [device.id], rotateToken: true, reason: "seen in a log" });
        await exchangeToken(device);
      },
    ],
  ])("ends with %s when %s", async (reason, _, shutOut) => {
    const devices = [await enrolDevice(elsewhere), await enrolDevice(elsewhere)] as const;
    const answers = [
      refusal(byGrpc(devices[0].token)),
      byRest(devices[1].token).then((answer) => ({ status: answer.status, ...httpRefusal(answer) })),
    ];
    await untilWaiting(2);
    for (const device of devices) await shutOut(device);
    const refused = { code: "UNAUTHENTICATED", reason };
    expect(await Promise.all(answers)).toMatchObject([refused, { ...refused, status: 401 }]);
    await untilWaiting(0);
  });

  it("ends when its token does", async () => {
    const devices = [await enrolDevice(elsewhere), await enrolDevice(elsewhere)] as const;
    const ids = devices.map(({ id }) => id);
    const ending =
      "UPDATE device_credentials SET expires_at = now() + interval '5 seconds' WHERE device_id = ANY($1::uuid[])";
    await query(home.databaseUrl, ending, [ids]);
    // On a machine that is too busy they do not come to wait, and are refused in the same words.
    const answers = [refusal(byGrpc(devices[0].token)), byRest(devices[1].token).then(httpRefusal)];
    const refused = { code: "UNAUTHENTICATED", reason: "CREDENTIAL_EXPIRED" };
    expect(await Promise.all(answers)).toMatchObject([refused, refused]);
    await untilWaiting(0);
  });

  it("goes on when its device exchanged the token by itself", async () => {
    const deviceType = "exchanges";
    const device = await enrolDevice(elsewhere, { deviceType });
    const answer = byGrpc(device.token);
    await untilWaiting(1);
    await exchangeToken(device);
    await eventually(async () =>
      expect(await refusal(elsewhere.client(device.token).unary(rotateDeviceToken, {}))).toMatchObject({
        reason: "CREDENTIAL_REVOKED",
      }),
    );
    await newFirmware(deviceType);
    expect((await answer).offer?.version).toBe("2.0.0");
  });
});

describe("an address that holds all the places it may have", () => {
  it("takes none from other addresses, and its other devices are answered at once", async () => {
    const deviceType = "crowded";
    const enrolled = await Promise.all(
      Array.from({ length: perAddress + 3 }, () => enrolDevice(elsewhere, { deviceType })),
    );
    const [first = "", ...others] = enrolled.map(({ token }) => token);
    const afar = others.pop() ?? "";
    const late = others.splice(perAddress - 1);
    const leave = new AbortController();
    const left = refusal(byGrpc(first, leave.signal));
    const held = others.map((token) => byGrpc(token));
    await untilWaiting(perAddress);
    for (const token of late) {
      const answer = await byRest(token);
      expect(answer.status).toBe(200);
      expect(answer.headers.get("preference-applied")).toBeNull();
      expect(answer.body).toMatchObject({ noOfferReason: "NO_OFFER_REASON_UP_TO_DATE" });
      expect((await byGrpc(token)).appliedWait).toBeUndefined();
    }
    const awaited = fromAfar(afar);
    await untilWaiting(perAddress + 1);

    leave.abort();
    expect(await left).toMatchObject({ code: "CANCELLED" });
    await untilWaiting(perAddress);
    const next = byRest(late[0] ?? "");
    await untilWaiting(perAddress + 1);

    await newFirmware(deviceType);
    const offer = { version: "2.0.0" };
    expect(await awaited).toMatchObject({ offer });
    for (const each of held) expect(await each).toMatchObject({ offer });
    expect((await next).body).toMatchObject({ offer });
    expect((await byRest(late[1] ?? "")).body).toMatchObject({ offer });
  });
});
