import { request } from "node:http";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { NoOfferReason, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { connectClient, enrolDevice, http, newContent, publish, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { metric } from "../support/streaming-device.ts";

/** Update checks that wait until there is an offer, at every door that devices can take. */

const cleanup = new AsyncDisposableStack();
/** Where operators call, and where devices do. */
let home: TestService;
let elsewhere: TestService;

// No check comes to its end by itself while a test goes on.
const settings = {
  DEVICE_OTA_HEARTBEAT_INTERVAL_SECONDS: "3600",
  DEVICE_OTA_UPDATE_CHECK_WAIT_SECONDS: "3600",
  DEVICE_OTA_MAX_WAITING_CHECKS: "4",
};

beforeAll(async () => {
  home = cleanup.use(await startTestService({ settings }));
  elsewhere = cleanup.use(await otherReplica());
});
afterAll(() => cleanup.disposeAsync());

function otherReplica(): Promise<TestService> {
  const { databaseUrl, dataDir } = home;
  return startTestService({ databaseUrl, settings: { ...settings, DEVICE_OTA_DATA_DIR: dataDir } });
}

const untilWaiting = (service: TestService, count: number) =>
  eventually(async () => {
    expect(await metric(service.httpUrl, "device_ota_waiting_update_checks")).toBe(count);
  });

const { blockDevice, retireDevice } = DeviceService.method;

const path = "/api/v1/updates:check";
const body = { firmwareVersion: "1.0.0", bootId: "boot 1" };
const hour = durationFromMs(3_600_000);

/** Each way to wait an hour: what the answer says, in the contract's names. */
const doors = {
  gRPC: (service: TestService, token: string) =>
    service.client(token).unary(UpdateService.method.checkForUpdate, { ...body, wait: hour }),
  Connect: (service: TestService, token: string) =>
    connectClient(service, UpdateService, token).checkForUpdate({ ...body, wait: hour }),
  "REST by the header": async (service: TestService, token: string) =>
    (await http(service, "POST", path, { token, body, headers: { prefer: "wait=3600" } })).body,
  "REST by the field": async (service: TestService, token: string) =>
    (await http(service, "POST", path, { token, body: { ...body, wait: "3600s" } })).body,
};

/** Deploys firmware for the devices of a type. */
async function newFirmware(deviceType: string, version: string): Promise<void> {
  const { id } = await publish(home, newContent(), { version, deviceTypes: [deviceType] });
  const rings = [{ name: "all", percent: 100 }];
  await home.client().unary(FirmwareService.method.deployFirmware, { id, rings });
}

describe("a check that waits", () => {
  it("is answered over every door as soon as another replica has an offer", async () => {
    const deviceType = "waits";
    const answers = Object.entries(doors).map(async ([name, check]) => {
      const { token } = await enrolDevice(elsewhere, { deviceType });
      return [name, (await check(elsewhere, token)).offer?.version];
    });
    await untilWaiting(elsewhere, answers.length);
    await newFirmware(deviceType, "2.0.0");
    expect(await Promise.all(answers)).toEqual(Object.keys(doors).map((name) => [name, "2.0.0"]));
    await untilWaiting(elsewhere, 0);
  });

  it("is answered at once where an offer waits already, and says that it would have waited", async () => {
    const { token } = await enrolDevice(home, { deviceType: "at-once" });
    await newFirmware("at-once", "2.0.0");
    const prefer = 'respond-async, wait="45"; some=thing';
    const { headers, body: answer } = await http(home, "POST", path, { token, body, headers: { prefer } });
    expect(answer.offer.version).toBe("2.0.0");
    expect(headers.get("preference-applied")).toBe("wait=45");
    const more = await http(home, "POST", path, { token, body, headers: { prefer: "wait=999999" } });
    expect(more.headers.get("preference-applied")).toBe("wait=3600");
  });

  it("ends without an offer when its time is over, is to come again soon, and was no slow call", async () => {
    const { token } = await enrolDevice(home);
    const headers = { prefer: "wait=2" };
    const answer = await http(home, "POST", path, { token, body, headers });
    expect(answer.body).toMatchObject({ noOfferReason: "NO_OFFER_REASON_UP_TO_DATE", appliedWait: "2s" });
    expect(Number.parseFloat(answer.body.retryAfter)).toBeLessThan(15);
    expect(answer.headers.get("preference-applied")).toBe("wait=2");

    const { body: metrics } = await http(home, "GET", "/metrics");
    const door = 'method="ota.v1.UpdateService/CheckForUpdate",door="rest",code="ok"';
    const within = (seconds: string) =>
      Number(new RegExp(`_seconds_bucket\\{le="${seconds}",${door}\\} (\\d+)`).exec(String(metrics))?.[1]);
    expect(within("1")).toBeGreaterThan(0);
    expect(within("1")).toBe(within("\\+Inf"));
  });

  it("is refused when its device is blocked or retired elsewhere", async () => {
    const devices = await Promise.all([enrolDevice(elsewhere), enrolDevice(elsewhere)]);
    const answers = devices.map(({ token }) => refusal(doors.gRPC(elsewhere, token)));
    await untilWaiting(elsewhere, 2);
    const [blocked = "", retired = ""] = devices.map(({ id }) => id);
    await home.client().unary(blockDevice, { id: blocked });
    await home.client().unary(retireDevice, { id: retired });
    expect(await Promise.all(answers)).toMatchObject([
      { reason: "DEVICE_BLOCKED" },
      { reason: "CREDENTIAL_REVOKED" },
    ]);
    await untilWaiting(elsewhere, 0);
  });
});

describe("places of checks that wait", () => {
  it("are given back when the caller goes away", async () => {
    const { token } = await enrolDevice(home);
    const giveUp = new AbortController();
    const byConnect = connectClient(home, UpdateService, token).checkForUpdate(
      { ...body, wait: hour },
      { signal: giveUp.signal },
    );
    await untilWaiting(home, 1);
    giveUp.abort();
    await expect(byConnect).rejects.toThrow("aborted");
    await untilWaiting(home, 0);

    const cancel = new AbortController();
    const byGrpc = home
      .client(token)
      .unary(UpdateService.method.checkForUpdate, { ...body, wait: hour }, { signal: cancel.signal });
    await untilWaiting(home, 1);
    cancel.abort();
    expect(await refusal(byGrpc)).toMatchObject({ code: "CANCELLED" });
    await untilWaiting(home, 0);

    const headers = {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      prefer: "wait=3600",
    };
    const byRest = request(`${home.httpUrl}${path}`, { method: "POST", headers });
    byRest.on("error", () => undefined);
    byRest.end(JSON.stringify(body));
    await untilWaiting(home, 1);
    byRest.destroy();
    await untilWaiting(home, 0);
  });

  it("are one a device: a newer check has the older answered as it stands", async () => {
    const { token } = await enrolDevice(home, { deviceType: "asks-twice" });
    const older = doors.gRPC(home, token);
    await untilWaiting(home, 1);
    const newer = doors["REST by the header"](home, token);
    expect((await older).noOfferReason).toBe(NoOfferReason.UP_TO_DATE);
    await untilWaiting(home, 1);
    await newFirmware("asks-twice", "2.0.0");
    expect((await newer).offer.version).toBe("2.0.0");
  });

  it("are bounded: whoever finds none is answered at once, and is told to poll", async () => {
    const deviceType = "full";
    const tokens = await Promise.all(
      [1, 2, 3, 4].map(async () => (await enrolDevice(home, { deviceType })).token),
    );
    const waiting = tokens.map((token) => doors.gRPC(home, token));
    await untilWaiting(home, 4);
    const { token } = await enrolDevice(home, { deviceType });
    const answer = await http(home, "POST", path, { token, body, headers: { prefer: "wait=3600" } });
    expect(answer.headers.get("preference-applied")).toBeNull();
    expect(answer.body).toMatchObject({ noOfferReason: "NO_OFFER_REASON_UP_TO_DATE" });
    expect(Number.parseFloat(answer.body.retryAfter)).toBeGreaterThan(600);
    await newFirmware(deviceType, "2.0.0");
    for (const each of waiting) expect((await each).offer?.version).toBe("2.0.0");
  });

  it("end with the service: all are answered, and sent elsewhere", async () => {
    const replica = await otherReplica();
    const { token } = await enrolDevice(home);
    const answers = [doors.gRPC(replica, token)];
    const { token: second } = await enrolDevice(home);
    const byRest = http(replica, "POST", path, { token: second, body, headers: { prefer: "wait=3600" } });
    await untilWaiting(replica, 2);
    await replica.server.close();
    for (const { noOfferReason, retryAfter } of await Promise.all(answers)) {
      expect(noOfferReason).toBe(NoOfferReason.UP_TO_DATE);
      expect(retryAfter && durationMs(retryAfter)).toBeLessThan(15_000);
    }
    expect(await byRest).toMatchObject({ status: 200, body: { appliedWait: "3600s" } });
    await replica[Symbol.asyncDispose]();
  });
});

it("refuses a wait that is out of bounds, and passes over a preference that says nothing", async () => {
  const { token } = await enrolDevice(home);
  const tooLong = await http(home, "POST", path, { token, body: { ...body, wait: "3601s" } });
  expect(tooLong).toMatchObject({ status: 400 });
  const negative = refusal(
    home.client(token).unary(UpdateService.method.checkForUpdate, { ...body, wait: durationFromMs(-1_000) }),
  );
  expect(await negative).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["wait"] });
  for (const prefer of ["wait=0", "wait=soon", "wait", "respond-async"]) {
    const answer = await http(home, "POST", path, { token, body, headers: { prefer } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("preference-applied")).toBeNull();
  }
});
