import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { parseDeviceFilter } from "../../src/device/filter/device-filter.ts";
import type { BatchUpdate } from "../../src/device/registry/batch-update.ts";
import { parseDeviceOrder } from "../../src/device/registry/device-list.ts";
import { eventually } from "../support/eventually.ts";
import {
  type DeviceReplica,
  enrolmentKey,
  enrolmentOf,
  heartbeatOf,
  joinDevices,
  noChange,
  startDevices,
} from "./device-fixture.ts";

const never = new AbortController().signal;

const nothing: BatchUpdate = { ...noChange, reason: "spring cleaning" };

/** Many devices at once, without enrolling each. */
async function insert(devices: DeviceReplica, count: number): Promise<void> {
  await devices.access.database.adminPool.query(
    `INSERT INTO devices (id, serial_number, device_type, hardware_model, groups)
     SELECT uuidv7(), 'SN-' || lpad(n::text, 6, '0'), CASE WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END, 'm', ARRAY['all']
       FROM generate_series(1, $1::int) n`,
    [count],
  );
}

async function enrolled(devices: DeviceReplica, count: number): Promise<string[]> {
  const key = await enrolmentKey(devices);
  const ids: string[] = [];
  for (let n = 0; n < count; n++)
    ids.push((await devices.enrolment.enrol(enrolmentOf(key, `E-${n}`))).deviceId);
  return ids;
}

describe("DeviceBatches", () => {
  it("says which product devices run, each of them audited, and alone", async () => {
    await using devices = await startDevices();
    await insert(devices, 4);
    const batch = { ...nothing, filter: "device_type = even", product: "os" };
    expect(await devices.batches.apply({ ...batch, validateOnly: true }, never)).toEqual({
      matched: 2,
      changed: 2,
    });
    expect(await devices.batches.apply({ ...batch, expectedCount: 2 }, never)).toEqual({
      matched: 2,
      changed: 2,
    });
    expect(await devices.registry.count(parseDeviceFilter("product = os"), { signal: never })).toBe(2);
    expect(await devices.batches.apply({ ...batch, filter: "product:*", expectedCount: 2 }, never)).toEqual({
      matched: 2,
      changed: 0,
    });
    const events = await devices.access.audit.list({ action: "device.update" }, { limit: 10 });
    expect(events).toHaveLength(2);
    expect(events[0]).toMatchObject({
      actor: "operator:ada",
      reason: "spring cleaning",
      details: { from_product: "", to_product: "os" },
    });
    const both = devices.batches.apply({ ...batch, expectedCount: 2, addTags: ["x"] }, never);
    await expect(both).rejects.toMatchObject({ metadata: { field: "product" } });
  });

  it("changes what a filter matches, in steps, and counts what became different", async () => {
    await using devices = await startDevices();
    await insert(devices, 2_500);
    const batch = { ...nothing, filter: "device_type = even", addGroups: ["beta"], removeGroups: ["all"] };
    const dry = await devices.batches.apply({ ...batch, validateOnly: true }, never);
    expect(dry).toEqual({ matched: 1_250, changed: 1_250 });
    const outcome = await devices.batches.apply({ ...batch, expectedCount: 1_250 }, never);
    expect(outcome).toEqual({ matched: 1_250, changed: 1_250 });
    expect(
      await devices.registry.count(parseDeviceFilter("groups:beta -groups:all"), { signal: never }),
    ).toBe(1_250);
    // Again: nothing is different any more.
    expect(await devices.batches.apply({ ...batch, expectedCount: 1_250 }, never)).toEqual({
      matched: 1_250,
      changed: 0,
    });
    const events = await devices.access.audit.list({ action: "device.batch_update" }, { limit: 10 });
    expect(events.map(({ details }) => details["changed_count"])).toEqual(["0", "0", "250", "1000"]);
    expect(events.at(-1)).toMatchObject({
      actor: "operator:ada",
      reason: "spring cleaning",
      resourceType: "device_batch",
    });
  });

  it("changes nothing if the filter matches more or fewer devices than the caller believes", async () => {
    await using devices = await startDevices();
    await insert(devices, 200);
    const batch = { ...nothing, filter: "groups:all", addTags: ["t"] };
    await expect(devices.batches.apply({ ...batch, expectedCount: 197 }, never)).rejects.toMatchObject({
      reason: "COUNT_MISMATCH",
      metadata: { expected_count: "197", actual_count: "200" },
    });
    await expect(devices.batches.apply(batch, never)).rejects.toMatchObject({
      metadata: { field: "expected_count" },
    });
    expect(await devices.registry.count(parseDeviceFilter("tags:*"), { signal: never })).toBe(0);
    expect(await devices.batches.apply({ ...batch, expectedCount: 199 }, never)).toEqual({
      matched: 200,
      changed: 200,
    });
  });

  it("keeps the order of groups, sets pins, and tells every replica's directory", async () => {
    await using devices = await startDevices();
    await using other = await joinDevices(devices.access.url);
    const [id = "", second = ""] = await enrolled(devices, 2);
    await devices.registry.update({ actor: "a", id, groups: ["c", "a", "b"], tags: ["old"] });
    await eventually(async () => expect((await other.directory.get(id)).tags).toEqual(["old"]));
    const outcome = await devices.batches.apply(
      {
        ...nothing,
        deviceIds: [id, second, randomUUID()],
        addGroups: ["z", "a"],
        removeGroups: ["c"],
        removeTags: ["old"],
        updatePin: "canary",
      },
      never,
    );
    expect(outcome).toEqual({ matched: 2, changed: 2 });
    const wanted = { groups: ["a", "b", "z"], tags: [], updatePin: "canary" };
    expect(await devices.registry.get(id)).toMatchObject(wanted);
    expect(await devices.directory.get(id)).toMatchObject(wanted);
    await eventually(async () => expect(await other.directory.get(id)).toMatchObject(wanted));
  });

  it("retires as a single retirement does", async () => {
    const told: string[] = [];
    await using devices = await startDevices(() => [
      { deviceRetired: async (_em, { id }) => void told.push(id) },
    ]);
    const ids = await enrolled(devices, 3);
    const outcome = await devices.batches.apply(
      { ...nothing, deviceIds: ids.slice(0, 2), retire: true },
      never,
    );
    expect(outcome).toEqual({ matched: 2, changed: 2 });
    expect(told.toSorted()).toEqual(ids.slice(0, 2).toSorted());
    expect(await devices.registry.count(parseDeviceFilter(""), { signal: never })).toBe(1);
  });

  it("changes how far devices are let in as the single verbs do, those that are not so already", async () => {
    await using devices = await startDevices();
    const ids = await enrolled(devices, 5);
    const filter = "device_type = thermostat";
    const [blocked = "", suspected = ""] = ids;
    await devices.standings.block({ actor: "operator:ada", id: blocked, reason: "" });
    const batch = { ...nothing, deviceIds: ids.slice(0, 3), standingVerb: "block" } as const;
    const foreseen = { matched: 3, changed: 2 };
    expect(await devices.batches.apply({ ...batch, validateOnly: true }, never)).toEqual(foreseen);
    expect(await devices.batches.apply(batch, never)).toEqual(foreseen);
    const standings = async () =>
      await Promise.all(ids.map(async (id) => (await devices.registry.get(id)).standing));
    expect(await standings()).toEqual(["blocked", "blocked", "blocked", "admitted", "admitted"]);
    const events = await devices.access.audit.list({ action: "device.block" }, { limit: 10 });
    expect(events.map(({ reason }) => reason ?? "")).toEqual(["spring cleaning", "spring cleaning", ""]);

    const all = { ...nothing, filter, expectedCount: 5 };
    expect(await devices.batches.apply({ ...all, standingVerb: "unblock" }, never)).toEqual({
      matched: 5,
      changed: 3,
    });
    await devices.access.database.adminPool.query(
      "UPDATE devices SET clone_suspected_at = now() WHERE id = $1",
      [suspected],
    );
    expect(await devices.batches.apply({ ...all, standingVerb: "approve" }, never)).toEqual({
      matched: 5,
      changed: 1,
    });
    expect(await standings()).toEqual(Array.from(ids, () => "admitted"));
  });

  it("changes no more devices' standing at once than the limit, three here, not even some", async () => {
    await using devices = await startDevices();
    await insert(devices, 4);
    const batch = { ...nothing, filter: "groups:all", expectedCount: 4, standingVerb: "quarantine" } as const;
    const refused = { reason: "TOO_MANY_DEVICES", metadata: { count: "4", limit: "3" } };
    for (const validateOnly of [true, false])
      await expect(devices.batches.apply({ ...batch, validateOnly }, never)).rejects.toMatchObject(refused);
    const count = async (filter: string) =>
      await devices.registry.count(parseDeviceFilter(filter), { signal: never });
    expect(await count("standing = QUARANTINED")).toBe(0);
    // Who is in quarantine already does not count.
    const odd = { ...batch, filter: "device_type = odd", expectedCount: 2 };
    expect(await devices.batches.apply(odd, never)).toEqual({ matched: 2, changed: 2 });
    expect(await devices.batches.apply(batch, never)).toEqual({ matched: 4, changed: 2 });
    expect(await count("standing = QUARANTINED")).toBe(4);
  });

  it.each([
    ["no change", {}],
    ["a name added and removed", { addGroups: ["a"], removeGroups: ["a"] }],
    ["a standing with another change", { standingVerb: "block", addTags: ["t"] } as const],
    ["a standing with retirement", { standingVerb: "block", retire: true } as const],
    ["retirement with another change", { retire: true, addTags: ["t"] }],
    ["a blank filter", { filter: "  ", addTags: ["t"], expectedCount: 1 }],
    ["a wrong filter", { filter: "battery_percent < low", addTags: ["t"], expectedCount: 1 }],
  ])("refuses %s", async (_name, change) => {
    await using devices = await startDevices();
    const batch = { ...nothing, deviceIds: "filter" in change ? [] : [randomUUID()], ...change };
    await expect(devices.batches.apply(batch, never)).rejects.toMatchObject({ code: "invalid_argument" });
  });

  it("refuses more groups than a device may have, and changes nothing of that step", async () => {
    await using devices = await startDevices();
    const [id = ""] = await enrolled(devices, 1);
    const many = Array.from({ length: 32 }, (_, n) => `g${n}`);
    await devices.registry.update({ actor: "a", id, groups: many });
    const batch = { ...nothing, deviceIds: [id], addGroups: ["one-more"] };
    await expect(devices.batches.apply(batch, never)).rejects.toMatchObject({ code: "invalid_argument" });
    expect((await devices.registry.get(id)).groups).toEqual(many);
  });
});

describe("lists of devices", () => {
  it.each([
    "",
    "create_time",
    "serial_number",
    "serial_number desc",
    "last_seen_time",
    "last_seen_time desc",
    "battery_percent desc",
  ])("read page by page what one page shows, ordered by %j", async (orderBy) => {
    await using devices = await startDevices();
    const ids = await enrolled(devices, 12);
    for (const [n, id] of ids.entries()) {
      if (n % 4 === 3) continue;
      const receivedAt = new Date(Date.parse("2026-01-01T00:00:00Z") + (n % 5) * 1_000);
      devices.directory.observe([
        heartbeatOf(id, 1, { receivedAt, batteryPercent: n % 3 === 0 ? undefined : (n % 3) + 0.1 }),
      ]);
    }
    await devices.states.flush();
    const query = {
      deviceTypes: [],
      hardwareModels: [],
      groups: [],
      firmwareVersions: [],
      serialNumberPrefix: "",
      showRetired: false,
      filter: parseDeviceFilter("device_type = thermostat"),
      order: parseDeviceOrder(orderBy),
    };
    const whole = await devices.registry.list(query, { limit: 100 }, { signal: never });
    expect(whole).toHaveLength(12);
    const paged: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = await devices.registry.list(query, { limit: 5, after }, { signal: never });
      paged.push(...page.map(({ device }) => device.id));
      if (page.length < 5) break;
      after = page.at(-1)?.place;
    }
    expect(paged).toEqual(whole.map(({ device }) => device.id));
  });

  it("refuses an order that it does not know", () => {
    expect(() => parseDeviceOrder("colour")).toThrow("order_by: must be one of create_time, serial_number");
  });
});

describe("SavedFilters", () => {
  it("keeps filters by name, once, and forgets them", async () => {
    await using devices = await startDevices();
    const request = {
      actor: "operator:ada",
      requestId: randomUUID(),
      name: "low",
      filter: "battery_percent < 20",
    };
    const saved = await devices.savedFilters.create(request);
    expect(await devices.savedFilters.create(request)).toMatchObject({ id: saved.id });
    await expect(devices.savedFilters.create({ ...request, requestId: undefined })).rejects.toMatchObject({
      reason: "DUPLICATE",
    });
    await expect(
      devices.savedFilters.create({ ...request, requestId: undefined, name: "x", filter: "nonsense =" }),
    ).rejects.toMatchObject({ reason: "INVALID_FILTER" });
    expect((await devices.savedFilters.list()).map(({ name }) => name)).toEqual(["low"]);
    await devices.savedFilters.delete({ actor: "operator:ada", id: saved.id });
    expect(await devices.savedFilters.list()).toEqual([]);
    await expect(devices.savedFilters.delete({ actor: "a", id: saved.id })).rejects.toMatchObject({
      code: "not_found",
    });
  });
});
