import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { UpdatePin } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { DeviceUpdateState, UpdateAction } from "../../gen/ota/v1/rollout_pb.js";
import { NoOfferReason } from "../../gen/ota/v1/update_service_pb.js";
import { type HttpAnswer, http, httpRefusal, newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** What operators do with rollouts, by plain HTTP, with devices that take part over gRPC. */

let service: TestService;
/** Of the rollouts' creator, a colleague and somebody who may only look. */
let token: string;
let colleague: string;
let viewer: string;
beforeAll(async () => {
  service = await startTestService();
  const mint = async (name: string, role: Role): Promise<string> =>
    (await service.client().unary(AccessService.method.createToken, { name, role })).secret;
  token = await mint("ada", Role.OPERATOR);
  colleague = await mint("grace", Role.OPERATOR);
  viewer = await mint("eve", Role.VIEWER);
});
afterAll(() => service[Symbol.asyncDispose]());

const rollouts = "/api/v1/rollouts";
const unknownId = "0199aaaa-0000-7000-8000-000000000000";

function post(path: string, body: object = {}, as = token): Promise<HttpAnswer> {
  return http(service, "POST", path, { token: as, body });
}

function get(path: string, as = token): Promise<HttpAnswer> {
  return http(service, "GET", path, { token: as });
}

/** The versions 1.0.0, 1.1.0 and 1.2.0 of a product of its own, by version. */
async function release(): Promise<Readonly<Record<"1.0.0" | "1.1.0" | "1.2.0" | "product", string>>> {
  const product = `app-${randomUUID()}`;
  const [first, second, third] = await Promise.all(
    ["1.0.0", "1.1.0", "1.2.0"].map((version) => publish(service, newContent(100), { product, version })),
  );
  return { "1.0.0": first?.id ?? "", "1.1.0": second?.id ?? "", "1.2.0": third?.id ?? "", product };
}

/** So many devices of a group of their own, which run the product and are pinned to the first ring. */
async function enrol(
  count: number,
  { product }: { readonly product: string },
): Promise<{ readonly group: string; readonly devices: PolledDevice[] }> {
  const group = `g-${randomUUID()}`;
  const rpc = service.client();
  const devices = await Promise.all(
    Array.from({ length: count }, async () => {
      const device = await PolledDevice.enrol(rpc, service.enrolmentKey);
      await rpc.unary(DeviceService.method.updateDevice, {
        id: device.id,
        product,
        groups: { names: [group] },
        updatePin: UpdatePin.CANARY,
      });
      return device;
    }),
  );
  return { group, devices };
}

const openGate = { minSample: 1, minSuccessPercent: 0, soakDuration: "0s", manual: true };
const rings = [
  { name: "canary", percent: 1, gate: openGate },
  { name: "all", percent: 100, gate: openGate },
];

/** A rollout to the group that runs, watches no device and is stopped by nothing. */
async function start(firmwareId: string, group: string, other: object = {}): Promise<string> {
  const { body } = await post(rollouts, {
    firmwareId,
    targeting: { groups: [group] },
    policy: { verificationDuration: "0s", failureThresholdPercent: 100 },
    rings,
    ...other,
  });
  const { id } = body.rollout;
  expect((await post(`${rollouts}/${id}:start`)).status).toBe(200);
  return id as string;
}

/** Takes the update until the rollout counts so many successes. */
async function succeed(id: string, devices: readonly PolledDevice[], count = devices.length): Promise<void> {
  await Promise.all(devices.map((device) => device.update(service)));
  await eventually(async () => {
    await Promise.all(devices.map((device) => device.beat(service)));
    const { body } = await get(`${rollouts}/${id}`);
    expect(body.rollout.rings[0].counters.succeeded).toBe(String(count));
  });
  for (const device of devices) device.forget();
}

describe("approval", () => {
  it("is asked for before a ring opens, and given by somebody else", async () => {
    const firmware = await release();
    const { group } = await enrol(0, firmware);
    const gate = { ...openGate, requireApproval: true };
    const id = await start(firmware["1.1.0"], group, {
      rings: rings.map((ring) => ({ ...ring, gate })),
    });
    const waiting = await get(`${rollouts}/${id}`);
    expect(waiting.body.rollout).toMatchObject({
      state: "ROLLOUT_STATE_AWAITING_APPROVAL",
      awaitingApprovalRing: "canary",
    });
    const own = await post(`${rollouts}/${id}:approve`);
    expect(own.status).toBe(403);
    expect(httpRefusal(own)).toMatchObject({ code: "PERMISSION_DENIED", reason: "FOUR_EYES" });

    const approved = await post(`${rollouts}/${id}:approve`, { reason: "looks good" }, colleague);
    expect(approved.body.rollout).toMatchObject({
      state: "ROLLOUT_STATE_RUNNING",
      awaitingApprovalRing: "all",
    });
    expect(approved.body.rollout.rings).toMatchObject([
      {
        state: "RING_STATE_OPEN",
        approver: "operator:grace",
        approveTime: expect.any(String),
      },
      { state: "RING_STATE_WAITING", approver: "" },
    ]);
    const early = await post(`${rollouts}/${id}:promote`);
    expect(httpRefusal(early)).toMatchObject({ code: "FAILED_PRECONDITION", reason: "ILLEGAL_TRANSITION" });
    const ring = await post(`${rollouts}/${id}:approve`, { ring: "all" }, colleague);
    expect(ring.body.rollout.rings[1].approveTime).toEqual(expect.any(String));
    const promoted = await post(`${rollouts}/${id}:promote`);
    expect(promoted.body.rollout.rings[1].state).toBe("RING_STATE_OPEN");
    const { body } = await get(`/api/v1/audit?resource_id=${id}&action=rollout.approve`, service.adminToken);
    expect(body.events.map(({ reason }: { reason: string }) => reason)).toEqual(["", "looks good"]);
  });
});

describe("rolling back", () => {
  it("is possible for one device, a ring and the whole, to where it came from or a named version", async () => {
    const firmware = await release();
    const { group, devices } = await enrol(3, firmware);
    const id = await start(firmware["1.1.0"], group);
    await succeed(id, devices);

    const [alone, ...others] = devices;
    if (alone === undefined) throw new Error("no device");
    const one = await post(`${rollouts}/${id}:rollbackDevice`, { deviceId: alone.id, reason: "hot" });
    expect(one.body.deviceUpdate).toMatchObject({
      deviceId: alone.id,
      action: "UPDATE_ACTION_ROLLBACK",
      fromVersion: "1.1.0",
      toVersion: "1.0.0",
    });
    const offer = await eventually(() => alone.expectOffer(service));
    expect(offer).toMatchObject({ action: UpdateAction.ROLLBACK, version: "1.0.0", allowDowngrade: true });
    await alone.update(service);
    await eventually(async () => {
      const { body } = await get(`${rollouts}/${id}`);
      expect(body.rollout.rollback).toMatchObject({ total: "1", completed: "1" });
    });
    // Who was rolled back is not offered it again.
    expect((await alone.check(service)).noOfferReason).toBe(NoOfferReason.ALREADY_TRIED);

    const ring = await post(`${rollouts}/${id}:rollbackRing`, { ring: "canary", reason: "all hot" });
    expect(ring.body.rollout).toMatchObject({
      state: "ROLLOUT_STATE_PAUSED",
      rings: [{ state: "RING_STATE_FAILED" }, { state: "RING_STATE_WAITING" }],
      rollback: { total: "3" },
    });
    for (const device of others) {
      const back = await eventually(() => device.expectOffer(service));
      expect(back).toMatchObject({ action: UpdateAction.ROLLBACK, version: "1.0.0" });
      await device.update(service);
      device.forget();
    }
    const whole = await post(`${rollouts}/${id}:rollback`);
    expect(whole.body.rollout.state).toMatch(/^ROLLOUT_STATE_ROLL(?:ING|ED)_BACK$/);
    await eventually(async () => {
      const { body } = await get(`${rollouts}/${id}`);
      expect(body.rollout).toMatchObject({
        state: "ROLLOUT_STATE_ROLLED_BACK",
        rollback: { total: "3", completed: "3", failed: "0" },
      });
    });

    // Another one goes back to a named version; never to the one that was just rolled back.
    const next = await start(firmware["1.2.0"], group);
    await succeed(next, others);
    const refused = await post(`${rollouts}/${next}:rollback`, { firmwareId: firmware["1.1.0"] });
    expect(httpRefusal(refused)).toEqual({
      code: "FAILED_PRECONDITION",
      reason: "ROLLBACK_TARGET_REFUSED",
      fields: ["firmwareId"],
    });
    const named = await post(`${rollouts}/${next}:rollback`, { firmwareId: firmware["1.0.0"] });
    expect(named.body.rollout.state).toBe("ROLLOUT_STATE_ROLLING_BACK");
    const [other] = others;
    const back = await eventually(async () => (await other?.expectOffer(service))?.version);
    expect(back).toBe("1.0.0");
  });
});

describe("a failed device", () => {
  it("is counted by its reason and may try again", async () => {
    const firmware = await release();
    const { group, devices } = await enrol(2, firmware);
    const id = await start(firmware["1.1.0"], group);
    const [failed, well] = devices;
    if (failed === undefined || well === undefined) throw new Error("no device");
    await eventually(() => failed.expectOffer(service));
    expect(await failed.report(service, DeviceUpdateState.FAILED)).toBe(DeviceUpdateState.FAILED);
    failed.forget();
    const reasons = await get(`${rollouts}/${id}/failureReasons`, viewer);
    expect(reasons.body).toEqual({ failureReasons: [{ name: "NO_SPACE", count: "1" }] });

    await succeed(id, [well]);
    const wellAgain = await post(`${rollouts}/${id}:retryDevice`, { deviceId: well.id });
    expect(httpRefusal(wellAgain)).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "ILLEGAL_TRANSITION",
    });
    const retried = await post(`${rollouts}/${id}:retryDevice`, { deviceId: failed.id, reason: "made room" });
    expect(retried.body.deviceUpdate).toMatchObject({
      deviceId: failed.id,
      state: "DEVICE_UPDATE_STATE_FAILED",
      failureReason: "NO_SPACE",
      attempt: 1,
      retryTime: expect.any(String),
    });
    await succeed(id, [failed], 2);
    expect((await get(`${rollouts}/${id}/failureReasons`)).body.failureReasons).toEqual([]);
  });
});

describe("preview", () => {
  it("previews a rollout before it exists and when it does, explains each device, and shows its health", async () => {
    const firmware = await release();
    const { group, devices } = await enrol(3, firmware);
    for (const device of devices) await device.beat(service);
    const plan = {
      firmwareId: firmware["1.1.0"],
      targeting: { groups: [group] },
      policy: { requireUserConsent: true },
      rings,
    };
    const heldBack = [{ reason: "NO_OFFER_REASON_CONSENT_REQUIRED", count: "3" }];
    const counts = {
      targetedCount: "3",
      rings: [
        { name: "canary", count: "3" },
        { name: "all", count: "0" },
      ],
      readyCount: "0",
    };
    const before = await eventually(async () => {
      const answer = await post(`${rollouts}:preview`, plan, viewer);
      expect(answer.body).toMatchObject({ ...counts, heldBack });
      return answer.body;
    });
    expect(before).toMatchObject({
      hardwareModels: [{ name: "tx-200", count: "3" }],
      currentVersions: [{ name: "1.0.0", count: "3" }],
      countTime: expect.any(String),
    });
    expect(before.heldBack[0].deviceIds.toSorted()).toEqual(devices.map(({ id }) => id).toSorted());

    const { body } = await post(rollouts, plan);
    const { id } = body.rollout;
    expect((await post(`${rollouts}:preview`, { rolloutId: id }, viewer)).body).toMatchObject(counts);
    const [device] = devices;
    const path = `${rollouts}/${id}/devices/${device?.id}:explain`;
    const draft = await get(path, viewer);
    expect(draft.body).toMatchObject({ offered: false, noOfferReason: "NO_OFFER_REASON_NOT_STARTED" });
    await post(`${rollouts}/${id}:start`);
    const running = await eventually(async () => {
      const answer = await get(path, viewer);
      expect(answer.body).toMatchObject({
        offered: false,
        noOfferReason: "NO_OFFER_REASON_CONSENT_REQUIRED",
      });
      return answer.body;
    });
    expect(running).toMatchObject({ ring: "canary", summary: expect.stringMatching(/\w+/) });
    const rules = new Map(running.rules.map((rule: { name: string }) => [rule.name, rule]));
    expect(rules.get("groups")).toMatchObject({ holds: true, required: expect.stringContaining(group) });
    expect(rules.get("version")).toMatchObject({ holds: true });
    expect(rules.get("require_user_consent")).toMatchObject({
      holds: false,
      message: expect.stringMatching(/\w+/),
    });

    const health = await get(`${rollouts}/${id}/health`, viewer);
    expect(health.status).toBe(200);
    expect(health.body.health).toMatchObject({
      verdict: "HEALTH_VERDICT_NOT_ENOUGH_DATA",
      updatedDeviceCount: "0",
      alpha: expect.any(Number),
      message: expect.stringMatching(/\w+/),
    });
  });
});

describe("bad input", () => {
  let id: string;
  let firmware: Awaited<ReturnType<typeof release>>;
  let deviceId: string;
  beforeAll(async () => {
    firmware = await release();
    const { group, devices } = await enrol(1, firmware);
    deviceId = devices[0]?.id ?? "";
    id = await start(firmware["1.1.0"], group);
  });

  const invalid = (...fields: string[]) => ({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST", fields });
  const notFound = { code: "NOT_FOUND", reason: "NOT_FOUND", fields: [] };
  const nothingToDo = { code: "FAILED_PRECONDITION", reason: "NOTHING_TO_DO", fields: [] };
  const unknownRing = { code: "INVALID_ARGUMENT", reason: "UNKNOWN_RING", fields: ["ring"] };
  const long = "x".repeat(501);

  it.each<[string, () => Promise<HttpAnswer>, object]>([
    [
      "approve: no such ring",
      () => post(`${rollouts}/${id}:approve`, { ring: "nope" }, colleague),
      unknownRing,
    ],
    ["approve: no such rollout", () => post(`${rollouts}/${unknownId}:approve`), notFound],
    ["approve: no id", () => post(`${rollouts}/mine:approve`), invalid("id")],
    ["approve: a novel", () => post(`${rollouts}/${id}:approve`, { reason: long }), invalid("reason")],
    ["rollbackRing: no ring", () => post(`${rollouts}/${id}:rollbackRing`), invalid("ring")],
    [
      "rollbackRing: no such ring",
      () => post(`${rollouts}/${id}:rollbackRing`, { ring: "nope" }),
      unknownRing,
    ],
    [
      "rollbackRing: not reached",
      () => post(`${rollouts}/${id}:rollbackRing`, { ring: "all" }),
      { code: "FAILED_PRECONDITION", reason: "ILLEGAL_TRANSITION" },
    ],
    ["rollbackDevice: no device", () => post(`${rollouts}/${id}:rollbackDevice`), invalid("deviceId")],
    ["rollbackDevice: not in it", () => post(`${rollouts}/${id}:rollbackDevice`, { deviceId }), nothingToDo],
    [
      "retryDevice: no device",
      () => post(`${rollouts}/${id}:retryDevice`, { deviceId: "d" }),
      invalid("deviceId"),
    ],
    ["retryDevice: not in it", () => post(`${rollouts}/${id}:retryDevice`, { deviceId }), nothingToDo],
    [
      "rollback: no id",
      () => post(`${rollouts}/${id}:rollback`, { firmwareId: "1.0.0" }),
      invalid("firmwareId"),
    ],
    [
      "rollback: to what it brings",
      () => post(`${rollouts}/${id}:rollback`, { firmwareId: firmware["1.1.0"] }),
      { code: "FAILED_PRECONDITION", reason: "ROLLBACK_TARGET_REFUSED", fields: ["firmwareId"] },
    ],
    [
      "create: a rollback to what it brings",
      () =>
        post(rollouts, {
          firmwareId: firmware["1.1.0"],
          policy: { rollbackFirmwareId: firmware["1.1.0"] },
        }),
      {
        code: "FAILED_PRECONDITION",
        reason: "ROLLBACK_TARGET_REFUSED",
        fields: ["policy.rollbackFirmwareId"],
      },
    ],
    [
      "preview: of nothing",
      () => post(`${rollouts}:preview`),
      { code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" },
    ],
    ["preview: no such rollout", () => post(`${rollouts}:preview`, { rolloutId: unknownId }), notFound],
    [
      "preview: a filter that is none",
      () =>
        post(`${rollouts}:preview`, { firmwareId: firmware["1.1.0"], targeting: { filter: "groups = " } }),
      { code: "INVALID_ARGUMENT", reason: "INVALID_FILTER", fields: ["targeting.filter"] },
    ],
    [
      "preview: rings that do not rise",
      () =>
        post(`${rollouts}:preview`, {
          firmwareId: firmware["1.1.0"],
          rings: [
            { name: "a", percent: 50 },
            { name: "b", percent: 50 },
          ],
        }),
      { code: "INVALID_ARGUMENT", fields: ["rings[1].percent"] },
    ],
    ["explain: no such device", () => get(`${rollouts}/${id}/devices/${unknownId}:explain`), notFound],
    ["explain: no such rollout", () => get(`${rollouts}/${unknownId}/devices/${deviceId}:explain`), notFound],
    ["explain: no id", () => get(`${rollouts}/${id}/devices/mine:explain`), invalid("device_id")],
    ["health: no such rollout", () => get(`${rollouts}/${unknownId}/health`), notFound],
    ["failure reasons: no such rollout", () => get(`${rollouts}/${unknownId}/failureReasons`), notFound],
    [
      "a viewer who approves",
      () => post(`${rollouts}/${id}:approve`, {}, viewer),
      { code: "PERMISSION_DENIED", reason: "ROLE_REQUIRED" },
    ],
    [
      "a viewer who rolls back",
      () => post(`${rollouts}/${id}:rollbackDevice`, { deviceId }, viewer),
      { code: "PERMISSION_DENIED", reason: "ROLE_REQUIRED" },
    ],
  ])("%s", async (_what, call, refused) => {
    const answer = await call();
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(httpRefusal(answer)).toMatchObject(refused);
  });
});
