import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { type HttpAnswer, http, httpRefusal, newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** The keys that an integration hangs on rollouts, rings and device updates, and what is put away, through the doors. */

let service: TestService;
beforeAll(async () => {
  service = await startTestService({ settings: { DEVICE_OTA_REQUIRE_SIGNATURE: "false" } });
});
afterAll(() => service[Symbol.asyncDispose]());

function call(method: string, path: string, body?: object): Promise<HttpAnswer> {
  return http(service, method, `/api/v1${path}`, { token: service.adminToken, ...(body && { body }) });
}

const gate = { minSample: 1, minSuccessPercent: 0, soakDuration: "0s" };

async function firmware(): Promise<string> {
  const product = `p-${randomUUID()}`;
  return (await publish(service, newContent(100), { product, version: "1.1.0" })).id;
}

async function create(firmwareId: string, other: object = {}) {
  const { body, status } = await call("POST", "/rollouts", {
    firmwareId,
    policy: { verificationDuration: "0s" },
    rings: [{ name: "all", percent: 100, gate, metadata: { order: "7" } }],
    ...other,
  });
  expect(status).toBe(200);
  return body.rollout;
}

const names = (answer: HttpAnswer) => answer.body.rollouts?.map(({ name }: { name: string }) => name) ?? [];

describe("an integration's own keys", () => {
  it("are kept with a rollout and its rings, replaced, and filter lists", async () => {
    const firmwareId = await firmware();
    const ticket = `OPS-${randomUUID()}`;
    const made = await create(firmwareId, { name: "one", metadata: { ticket, run: "a=b" } });
    await create(firmwareId, { name: "two", metadata: { ticket } });
    expect(made).toMatchObject({ metadata: { ticket, run: "a=b" }, rings: [{ metadata: { order: "7" } }] });
    expect(names(await call("GET", `/rollouts?metadata=ticket=${ticket}`))).toEqual(["two", "one"]);
    const both = `/rollouts?metadata=ticket=${ticket}&metadata=${encodeURIComponent("run=a=b")}`;
    expect(names(await call("GET", both))).toEqual(["one"]);
    const changed = await call("PATCH", `/rollouts/${made.id}`, {
      name: "first",
      metadata: { entries: { ticket: "done" } },
      rings: [{ name: "all", metadata: { entries: {} } }],
    });
    expect(changed.body.rollout).toMatchObject({ name: "first", metadata: { ticket: "done" }, rings: [{}] });
    expect(changed.body.rollout.rings[0].metadata ?? {}).toEqual({});
    expect(changed.body.rollout.etag).not.toBe(made.etag);
    expect(names(await call("GET", `/rollouts?metadata=ticket=${ticket}`))).toEqual(["two"]);
    const stale = await call("PATCH", `/rollouts/${made.id}`, { name: "late", etag: made.etag });
    expect(httpRefusal(stale)).toMatchObject({ code: "ABORTED" });
    const events = await call("GET", `/audit?resourceId=${made.id}&action=rollout.update`);
    expect(events.body.events[0].details).toMatchObject({
      from_name: expect.any(String),
      to_metadata: expect.any(String),
      "to_rings.all.metadata": expect.any(String),
    });
  });

  it("are refused past their bounds, and for a ring that there is not", async () => {
    const firmwareId = await firmware();
    const { id } = await create(firmwareId);
    const refused = async (body: object) => httpRefusal(await call("PATCH", `/rollouts/${id}`, body));
    expect(await refused({ metadata: { entries: { "a=b": "" } } })).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    expect(await refused({ metadata: { entries: { a: "x".repeat(513) } } })).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`k${at}`, "v"]));
    expect(await refused({ metadata: { entries: many } })).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await refused({ rings: [{ name: "none", metadata: { entries: {} } }] })).toMatchObject({
      reason: "UNKNOWN_RING",
    });
    expect(httpRefusal(await call("GET", "/rollouts?metadata=ticket"))).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    expect(httpRefusal(await call("GET", "/rollouts?metadata=a=1&metadata=a=2"))).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });
});

describe("a deployment", () => {
  it("keeps the keys of its rollout, is refused with others, and begins anew after the archive", async () => {
    const firmwareId = await firmware();
    const group = `g-${randomUUID()}`;
    const deploy = (metadata: object) =>
      call("POST", `/firmware/${firmwareId}/deploy`, { targeting: { groups: [group] }, metadata });
    const first = (await deploy({ run: "1" })).body.rollout;
    expect(first.metadata).toEqual({ run: "1" });
    expect((await deploy({ run: "1" })).body.rollout.id).toBe(first.id);
    expect((await deploy({})).body.rollout.id).toBe(first.id);
    expect(httpRefusal(await deploy({ run: "2" }))).toMatchObject({
      reason: "ROLLOUT_DIFFERS",
      fields: ["metadata"],
    });
    await call("POST", `/rollouts/${first.id}:abort`, {});
    await call("POST", `/rollouts/${first.id}:archive`, {});
    const second = (await deploy({ run: "2" })).body.rollout;
    expect(second).toMatchObject({ metadata: { run: "2" } });
    expect(second.id).not.toBe(first.id);
  });
});

describe("a rollout that is over", () => {
  it("is archived over the doors: its device's history keeps it, and its firmware can be deleted", async () => {
    const firmwareId = await firmware();
    const rpc = service.client();
    const device = await PolledDevice.enrol(rpc, service.enrolmentKey, "1.0.0");
    const group = await device.joinGroup(
      rpc,
      (await call("GET", `/firmware/${firmwareId}`)).body.firmware.product,
    );
    const { id } = await create(firmwareId, { name: group, targeting: { groups: [group] } });
    const early = await call("POST", `/rollouts/${id}:archive`, {});
    expect(httpRefusal(early)).toMatchObject({ code: "FAILED_PRECONDITION", reason: "ILLEGAL_TRANSITION" });
    await call("POST", `/rollouts/${id}:start`, {});
    await device.update(service);
    await eventually(async () => {
      await device.beat(service);
      expect((await call("GET", `/rollouts/${id}`)).body.rollout.state).toBe("ROLLOUT_STATE_COMPLETED");
    });
    expect(httpRefusal(await call("DELETE", `/firmware/${firmwareId}`))).toMatchObject({
      reason: "FIRMWARE_IN_USE",
    });
    const updates = `/deviceUpdates?deviceId=${device.id}`;
    const [update] = (await call("GET", updates)).body.deviceUpdates;
    const labelled = await call("PATCH", `/devices/${device.id}/deviceUpdates/${update.id}`, {
      metadata: { entries: { order: "4711" } },
    });
    expect(labelled.body.deviceUpdate).toMatchObject({ id: update.id, metadata: { order: "4711" } });
    const found = (await call("GET", `/rollouts/${id}/deviceUpdates?metadata=order=4711`)).body;
    expect(found.deviceUpdates).toHaveLength(1);
    const other = (await call("GET", `/rollouts/${id}/deviceUpdates?metadata=order=1`)).body;
    expect(other.deviceUpdates ?? []).toEqual([]);

    const archived = (await call("POST", `/rollouts/${id}:archive`, { reason: "shipped" })).body.rollout;
    expect(archived).toMatchObject({ state: "ROLLOUT_STATE_COMPLETED", archiveTime: expect.any(String) });
    expect(names(await call("GET", "/rollouts"))).not.toContain(group);
    expect(names(await call("GET", "/rollouts?showArchived=true"))).toContain(group);
    await eventually(async () => expect((await call("GET", updates)).body.deviceUpdates ?? []).toEqual([]));
    const [kept] = (await call("GET", `${updates}&showArchived=true`)).body.deviceUpdates;
    expect(kept).toMatchObject({ id: update.id, archived: true, metadata: { order: "4711" } });
    expect((await call("DELETE", `/firmware/${firmwareId}`)).status).toBe(200);
    const back = await call("POST", `/rollouts/${id}:unarchive`, {});
    expect(httpRefusal(back)).toMatchObject({ code: "FAILED_PRECONDITION", reason: "FIRMWARE_NOT_READY" });
    const grpc = await rpc.unary(RolloutService.method.getRollout, { id });
    expect(grpc.rollout?.archiveTime).toBeDefined();
  });
});
