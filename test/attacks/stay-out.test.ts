import { randomUUID } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { enrolDevice, http, httpRefusal, refusal } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Whoever holds a fleet's enrolment key and knows serial numbers, and wants to be a device that is known or must stay out. */

const { createEnrolmentKey, listEnrolmentKeys } = AccessService.method;
const { enrolDevice: enrol, resetDeviceCredential, retireDevice } = DeviceService.method;
const duplicate = { code: "ALREADY_EXISTS", reason: "DUPLICATE", fields: [] };
const retired = { code: "PERMISSION_DENIED", reason: "DEVICE_RETIRED", fields: [] };

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

/** What a device says that enrols, as JSON and as a message. */
function request(serialNumber: string, requestId: string = randomUUID()) {
  return {
    requestId,
    enrolmentKey: service.enrolmentKey,
    serialNumber,
    deviceType: "thermostat",
    hardwareModel: "tx-200",
    firmwareVersion: "1.0.0",
  };
}

/** What gRPC and REST answer to an enrolment by somebody who has nothing but the fleet's key. */
async function refusalsAtBothDoors(body: ReturnType<typeof request>) {
  using nobody = new RpcClient({ address: service.grpcAddress });
  return {
    grpc: await refusal(nobody.unary(enrol, body)),
    rest: httpRefusal(await http(service, "POST", "/api/v1/devices:enrol", { body })),
  };
}

/** REST names fields as they were written: in JSON's notation. */
const atBothDoors = (expected: { readonly fields: readonly string[] }) => ({
  grpc: expected,
  rest: { ...expected, fields: expected.fields.map(inJson) },
});
const inJson = (name: string) => name.replaceAll(/_[a-z]/g, (begin) => begin.slice(1).toUpperCase());

/** Whether a token still speaks for its device. */
async function works({ id, token }: { id: string; token: string }): Promise<boolean> {
  return (await http(service, "GET", `/api/v1/devices/${id}`, { token })).status === 200;
}

async function inDatabase(statement: string, values: unknown[]): Promise<void> {
  const database = new pg.Client({ connectionString: service.databaseUrl });
  await database.connect();
  await database.query(statement, values);
  await database.end();
}

describe("the fleet's enrolment key and a known serial number", () => {
  it("take over no device that is in service", async () => {
    const serialNumber = `sn-${randomUUID()}`;
    const device = await enrolDevice(service, { serialNumber });
    expect(await refusalsAtBothDoors(request(serialNumber))).toEqual(atBothDoors(duplicate));
    expect(await works(device)).toBe(true);
  });

  it("bring back no device that was retired, until an operator reinstates it, and then once", async () => {
    const serialNumber = `sn-${randomUUID()}`;
    const { id } = await enrolDevice(service, { serialNumber });
    await service.client().unary(retireDevice, { id, reason: "stolen" });
    expect(await refusalsAtBothDoors(request(serialNumber))).toEqual(atBothDoors(retired));

    const answer = await http(service, "POST", `/api/v1/devices/${id}:reinstate`, {
      token: service.adminToken,
      body: { reason: "found again" },
    });
    expect(answer.body).toMatchObject({ device: { id, enrolUntilTime: expect.any(String) } });
    const back = await enrolDevice(service, { serialNumber });
    expect(back.id).not.toBe(id);
    expect(await refusalsAtBothDoors(request(serialNumber))).toEqual(atBothDoors(duplicate));
    await service.client().unary(retireDevice, { id: back.id });
    expect(await refusalsAtBothDoors(request(serialNumber))).toEqual(atBothDoors(retired));
  });

  it("get in once after a reset, for a while", async () => {
    const serialNumber = `sn-${randomUUID()}`;
    const { id } = await enrolDevice(service, { serialNumber });
    const { enrolUntilTime } = await service.client().unary(resetDeviceCredential, { id });
    expect(Number(enrolUntilTime?.seconds) * 1_000).toBeGreaterThan(Date.now());
    expect((await enrolDevice(service, { serialNumber })).id).toBe(id);
    expect(await refusalsAtBothDoors(request(serialNumber))).toEqual(atBothDoors(duplicate));

    await service.client().unary(resetDeviceCredential, { id });
    await inDatabase("UPDATE devices SET enrol_until = now() - interval '1 second' WHERE id = $1", [id]);
    expect(await refusalsAtBothDoors(request(serialNumber))).toEqual(atBothDoors(duplicate));
  });

  it("let one of many in who come after a reset at the same time", async () => {
    const serialNumber = `sn-${randomUUID()}`;
    const { id } = await enrolDevice(service, { serialNumber });
    await service.client().unary(resetDeviceCredential, { id });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, () => enrolDevice(service, { serialNumber })),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });
});

describe("the request id of another device's enrolment", () => {
  it("is worth nothing when the answer can no longer be on its way", async () => {
    const serialNumber = `sn-${randomUUID()}`;
    const requestId = randomUUID();
    const device = await enrolDevice(service, { serialNumber, requestId });
    await inDatabase("UPDATE devices SET enrolled_at = enrolled_at - interval '1 hour' WHERE id = $1", [
      device.id,
    ]);
    expect(await refusalsAtBothDoors(request(serialNumber, requestId))).toEqual(atBothDoors(duplicate));
    expect(await works(device)).toBe(true);
  });

  it("is worth nothing at another address", async () => {
    const serialNumber = `sn-${randomUUID()}`;
    const requestId = randomUUID();
    const device = await enrolDevice(service, { serialNumber, requestId });
    await inDatabase("UPDATE devices SET enrol_source = '203.0.113.7' WHERE id = $1", [device.id]);
    expect(await refusalsAtBothDoors(request(serialNumber, requestId))).toEqual(atBothDoors(duplicate));
    expect(await works(device)).toBe(true);
  });

  it("makes no other device of it", async () => {
    const serialNumber = `sn-${randomUUID()}`;
    const requestId = randomUUID();
    const device = await enrolDevice(service, { serialNumber, requestId });
    const reused = { code: "INVALID_ARGUMENT", reason: "REQUEST_ID_REUSED", fields: ["request_id"] };
    for (const other of [
      { deviceType: "camera" },
      { hardwareModel: "tx-300" },
      { firmwareVersion: "9.9.9" },
      { metadata: { owner: "me" } },
    ]) {
      const body = { ...request(serialNumber, requestId), ...other };
      expect(await refusalsAtBothDoors(body)).toEqual(atBothDoors(reused));
    }
    expect(await works(device)).toBe(true);
  });

  it("cannot be the nil UUID, which everybody knows", async () => {
    const nil = "00000000-0000-0000-0000-000000000000";
    const refused = { code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST", fields: ["request_id"] };
    expect(await refusalsAtBothDoors(request(`sn-${randomUUID()}`, nil))).toEqual(atBothDoors(refused));
  });
});

describe("a key for some serial numbers", () => {
  const refused = {
    code: "PERMISSION_DENIED",
    reason: "SERIAL_NUMBER_NOT_ALLOWED",
    fields: ["serial_number"],
  };
  const made = async (limits: object) => {
    const body = { name: "line 3", ...limits };
    const { secret } = await service.client().unary(createEnrolmentKey, body);
    return secret;
  };
  const tried = (secret: string, serialNumber: string) =>
    refusalsAtBothDoors({ ...request(serialNumber), enrolmentKey: secret });

  it("lets in those that it names or whose pattern fits, and nobody else at either door", async () => {
    const batch = randomUUID();
    const secret = await made({
      serialNumberPatterns: [`TH-${batch}-*`],
      serialNumbers: [`one-${batch}`, `one-${batch}`],
    });
    for (const stranger of [`th-${batch}-1`, `one-${batch}2`, `x TH-${batch}-1`, `TH-${batch}`, "*"])
      expect(await tried(secret, stranger), stranger).toEqual(atBothDoors(refused));
    for (const serialNumber of [`TH-${batch}-1`, `one-${batch}`])
      await enrolDevice(service, { serialNumber, enrolmentKey: secret });
    const { keys } = await service.client().unary(listEnrolmentKeys, {});
    expect(keys[0]).toMatchObject({
      useCount: 2n,
      serialNumberPatterns: [`TH-${batch}-*`],
      serialNumberCount: 1,
    });
  });

  it("does not take over a device of another key either, reset or not, and what it refuses is counted", async () => {
    const serialNumber = `sn-${randomUUID()}`;
    const { id } = await enrolDevice(service, { serialNumber });
    await service.client().unary(resetDeviceCredential, { id });
    const secret = await made({ serialNumberPatterns: ["other-*"] });
    const counted = async () => {
      const text = String((await http(service, "GET", "/metrics")).body);
      return Number(
        /enrolments_refused_total\{reason="SERIAL_NUMBER_NOT_ALLOWED"\} (\d+)/u.exec(text)?.[1] ?? 0,
      );
    };
    const before = await counted();
    expect(await tried(secret, serialNumber)).toEqual(atBothDoors(refused));
    await eventually(async () => expect(await counted()).toBe(before + 2));
    expect((await enrolDevice(service, { serialNumber })).id).toBe(id);
  });

  it("takes ten thousand of them, and no more", async () => {
    const all = Array.from({ length: 10_000 }, (_, index) => `${index} ${"x".repeat(100)}`);
    const secret = await made({ serialNumbers: all });
    expect(await tried(secret, "10000")).toEqual(atBothDoors(refused));
    const tooMany = refusal(made({ serialNumbers: [...all, "10000"] }));
    expect(await tooMany).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["serial_numbers"] });
  });

  it.each([
    ["serial_numbers[1]", { serialNumbers: ["fine", "hidden\u200b"] }],
    ["serial_number_patterns[0]", { serialNumberPatterns: ["*\n"] }],
  ])("is refused with %s that is none", async (field, limits) => {
    expect(await refusal(made(limits))).toEqual({
      code: "INVALID_ARGUMENT",
      reason: "INVALID_REQUEST",
      fields: [field],
    });
  });
});
