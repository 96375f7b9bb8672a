import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RolloutPreview } from "../../src/rollout/preview/rollout-preview.ts";
import { eventually } from "../support/eventually.ts";
import {
  actor,
  createWorld,
  Fleet,
  type Replica,
  release,
  report,
  run,
  startReplica,
  until,
  type World,
  wanted,
} from "./rollout-fixture.ts";

const hour = 3_600_000;
const rings = [{ name: "all", percent: 100, gate: { manual: true } }];

let world: World;
let replica: Replica;

beforeAll(async () => {
  world = await createWorld();
  replica = await startReplica(world);
});

afterAll(async () => {
  await replica[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

describe("a scheduled rollout", () => {
  const changes = [
    ["was deleted", "is_deleted = true", "is_deleted = false", "NOT_FOUND"],
    ["was withdrawn", "state = 'DRAFT'", "state = 'RELEASED'", "FIRMWARE_NOT_READY"],
    ["has expired", "expires_at = '2026-01-01'", "expires_at = NULL", "FIRMWARE_EXPIRED"],
    ["has damaged content", "damaged_at = now()", "damaged_at = NULL", "FIRMWARE_DAMAGED"],
  ] as const;

  it.each(changes)("is not started when its firmware %s meanwhile", async (_, change, back, found) => {
    const firmwareId = await release(world, `2.0.0-${found.replaceAll("_", "-")}`);
    const { id } = await schedule(firmwareId);
    await set(firmwareId, change);
    world.clock.advance(hour);
    const paused = await until(replica, id, ({ state }) => expect(state).toBe("PAUSED"));
    expect(paused.stateReason).toMatch(/^not started at 20\d\d-.*: /);
    expect(paused.alert).toBe(paused.stateReason);
    expect(paused.rings[0]?.state).toBe("WAITING");
    expect(await auditOf(id)).toContainEqual({
      actor: "system:schedule",
      action: "rollout.pause",
      reason: paused.stateReason,
      details: { rule: "deployable", found, from: "SCHEDULED", to: "PAUSED" },
    });
    const call = { id, actor, reason: "again" };
    await expect(replica.engine.catalog.resume(call)).rejects.toMatchObject({ reason: found });
    await set(firmwareId, back);
    const resumed = await replica.engine.catalog.resume(call);
    expect(resumed).toMatchObject({ state: "RUNNING", alert: "" });
    await replica.engine.catalog.abort(call);
  });

  it("is not started when another one of its firmware was rolled back meanwhile", async () => {
    const firmwareId = await release(world, "2.1.0");
    const call = (id: string) => ({ id, actor, reason: "bad" });
    const first = await run(replica, wanted(firmwareId, { rings }));
    const { id } = await schedule(firmwareId);
    await (await enrol(1, "early")).offers(replica);
    await replica.engine.catalog.rollback(call(first.id));
    await until(replica, first.id, ({ state }) => expect(state).toBe("ROLLED_BACK"));
    const later = await schedule(firmwareId);
    world.clock.advance(hour);
    const paused = await until(replica, id, ({ state }) => expect(state).toBe("PAUSED"));
    expect(paused.alert).toContain("rollout os 2.1.0 of the same firmware was rolled back");
    // Whoever made this one knew.
    await until(replica, later.id, ({ state }) => expect(state).toBe("RUNNING"));
    await replica.engine.catalog.abort(call(later.id));
    expect((await replica.engine.catalog.resume(call(id))).state).toBe("RUNNING");
    await replica.engine.catalog.abort(call(id));
  });

  it("is not approved when its firmware cannot be deployed any more", async () => {
    const firmwareId = await release(world, "2.2.0");
    const approved = [{ name: "all", percent: 100, gate: { manual: true, requireApproval: true } }];
    const { catalog } = replica.engine;
    const { id } = await catalog.create(wanted(firmwareId, { rings: approved }), { actor });
    await catalog.start({ id, actor, reason: "" });
    await set(firmwareId, "state = 'DRAFT'");
    const approval = catalog.approve({ id, actor: "operator:other", reason: "" });
    await expect(approval).rejects.toMatchObject({ reason: "FIRMWARE_NOT_READY" });
    expect((await catalog.get(id)).state).toBe("AWAITING_APPROVAL");
    await catalog.abort({ id, actor, reason: "" });
  });
});

describe("a rollout whose stored content is damaged", () => {
  it("is offered to nobody and says so, holds nothing against devices, and goes on by itself", async () => {
    const fleet = await enrol(2, "damaged");
    const [first, second] = fleet.devices;
    if (first === undefined || second === undefined) throw new Error("no devices");
    const firmwareId = await release(world, "2.3.0");
    const policy = { deviceTimeoutMs: hour };
    const plan = { rings, targeting: { groups: ["damaged"] }, policy };
    const { catalog, explainer, foresight } = replica.engine;
    const { id } = await run(replica, wanted(firmwareId, plan));
    expect(await fleet.offers(replica, [first])).toHaveLength(1);

    await set(firmwareId, "damaged_at = now()");
    const told = await until(replica, id, ({ alert }) => expect(alert).not.toBe(""));
    expect(told).toMatchObject({
      state: "RUNNING",
      alert:
        "it cannot go on by itself: the stored content of 2.3.0 is damaged or missing, and nobody is offered it until it is uploaded again",
    });
    await eventually(async () => expect(await fleet.offers(replica, [first])).toEqual([]));
    expect(await fleet.offers(replica, [second])).toEqual([]);
    expect(await explainer.explain(id, second.id)).toMatchObject({
      reason: "ROLLOUT_PAUSED",
      message: expect.stringContaining("damaged or missing"),
    });
    // The deadline of the one that has an offer does not pass meanwhile.
    for (let minutes = 0; minutes < 90; minutes++) {
      world.clock.advance(60_000);
      await fleet.offers(replica, [first]);
    }
    await replica.engine.tick();
    expect((await catalog.get(id)).rings[0]?.counters).toMatchObject({ inProgress: 1, failed: 0 });

    const refused = { code: "failed_precondition", reason: "FIRMWARE_DAMAGED" };
    await expect(catalog.create(wanted(firmwareId, plan), { actor })).rejects.toMatchObject(refused);
    await catalog.pause({ id, actor, reason: "" });
    await expect(catalog.resume({ id, actor, reason: "" })).rejects.toMatchObject(refused);
    const warnings = await foresight.ofNew(wanted(firmwareId, plan), new AbortController().signal);
    expect(warnings[0]).toMatchObject({ code: "FIRMWARE_DAMAGED" });

    await set(firmwareId, "damaged_at = NULL");
    await catalog.resume({ id, actor, reason: "" });
    await eventually(async () => expect(await fleet.offers(replica)).toHaveLength(2));
    expect(await catalog.get(id)).toMatchObject({ state: "RUNNING", alert: "" });
    await catalog.abort({ id, actor, reason: "" });
  });
});

describe("a rollout that cannot be read any more", () => {
  it("is for no device and says so, and the others go on; once it can be read again it goes on, too", async () => {
    const fleet = await enrol(1, "unreadable");
    const targeting = { groups: ["unreadable"], filter: "battery_percent > 20 OR hardware_model = t100" };
    const firmwareId = await release(world, "3.1.0");
    const { catalog, explainer, index, preview } = replica.engine;
    const { id } = await run(replica, wanted(firmwareId, { rings, targeting }));
    const other = await run(
      replica,
      wanted(await release(world, "3.0.0"), { rings, targeting: { groups: ["unreadable"] } }),
    );
    const store = (filter: string) =>
      world.database.adminPool.query(
        `UPDATE rollouts SET targeting = jsonb_set(targeting, '{filter}', to_jsonb($2::text)),
           version = version + 1 WHERE id = $1`,
        [id, filter],
      );
    await store("no_such_field = 1");
    const shown = await until(replica, id, ({ alert }) => expect(alert).not.toBe(""));
    expect(shown).toMatchObject({ state: "RUNNING" });
    expect(shown.alert).toMatch(/^the rollout is for no device: its filter cannot be read: .*no_such_field/);
    expect(await auditOf(id)).toContainEqual({
      actor: "system:targeting",
      action: "rollout.unreadable",
      reason: shown.alert,
      details: {},
    });
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    const explained = await explainer.explain(id, device.id);
    expect(explained.reason).toBe("NOT_TARGETED");
    expect(explained.message).toContain("its filter cannot be read");
    expect(await preview.ofRollout(id)).toMatchObject({ targetedCount: 0 });
    // A service that starts with it reads all the others.
    await using second = await startReplica(world);
    expect(second.engine.index.get(id)?.unreadable).toContain("no_such_field");
    expect((await fleet.offers(second)).map(([, { rolloutId }]) => rolloutId)).toEqual([other.id]);
    expect((await auditOf(id)).filter(({ action }) => action === "rollout.unreadable")).toHaveLength(1);

    // Those that can read it leave the word to those that cannot, until a service starts that can.
    await store(targeting.filter);
    await eventually(() => expect(index.get(id)?.unreadable).toBeUndefined());
    expect(index.dueAlert(shown)).toBeUndefined();
    await using third = await startReplica(world);
    await until(third, id, ({ alert }) => expect(alert).toBe(""));
    for (const each of [id, other.id]) await catalog.abort({ id: each, actor, reason: "" });
  });
});

describe("the rollback of an application", () => {
  it("looks for the application's version, and at no security counter, which is the firmware's", async () => {
    const fleet = await enrol(1, "counter", 7);
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    const [before, after] = [await release(world, "4.0.0"), await release(world, "4.1.0")];
    await world.database.adminPool.query(
      `UPDATE firmware_updates SET product = 'maps', kind = 'APPLICATION', component = 'maps', security_counter = 1
       WHERE id = ANY ($1::uuid[])`,
      [[before, after]],
    );
    const beat = (version: string) => {
      const record = { ...fleet.record(device), components: { maps: version } };
      replica.directory.observe([record]);
      replica.engine.observe([record]);
    };
    beat("4.0.0");
    const rollout = await run(replica, wanted(after, { rings, targeting: { groups: ["counter"] } }));
    const [offer] = await fleet.offers(replica);
    if (offer === undefined) throw new Error("no offer");
    await report(replica, device.id, offer[1].id, "INSTALLING");
    beat("4.1.0");
    const call = { id: rollout.id, actor, reason: "bad" };
    await replica.engine.catalog.rollback(call);
    await eventually(async () =>
      expect(await fleet.offers(replica)).toMatchObject([
        [device, { action: "ROLLBACK", firmwareId: before, toVersion: "4.0.0" }],
      ]),
    );
    beat("4.1.0");
    beat("4.0.0");
    const ended = await until(replica, rollout.id, ({ state }) => expect(state).toBe("ROLLED_BACK"));
    expect(ended.rollback).toEqual({
      total: 1,
      completed: 1,
      failed: 0,
      blocked: 0,
      unreleased: 0,
      away: 0,
      waiting: 0,
    });
    expect(ended.alert).toBe("");
  });

  it("does not take firmware of the same product for it", async () => {
    const fleet = await enrol(1, "mixed");
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    const firmwareId = await release(world, "4.2.0");
    const application = await release(world, "4.3.0");
    await world.database.adminPool.query(
      "UPDATE firmware_updates SET kind = 'APPLICATION', component = 'maps' WHERE id = $1",
      [application],
    );
    const record = { ...fleet.record(device), components: { maps: "4.2.0" } };
    replica.directory.observe([record]);
    replica.engine.observe([record]);
    const { catalog } = replica.engine;
    const named = wanted(application, { policy: { pauseOnFailure: false, rollbackFirmwareId: firmwareId } });
    await expect(catalog.create(named, { actor, requestId: randomUUID() })).rejects.toMatchObject({
      reason: "ROLLBACK_TARGET_REFUSED",
    });
    const rollout = await run(replica, wanted(application, { rings, targeting: { groups: ["mixed"] } }));
    const [offer] = await fleet.offers(replica);
    await report(replica, device.id, offer?.[1].id ?? "", "INSTALLING");
    await catalog.rollback({ id: rollout.id, actor, reason: "bad" });
    const ended = await until(replica, rollout.id, ({ state }) => expect(state).toBe("ROLLED_BACK"));
    expect(ended.rollback).toMatchObject({ total: 1, failed: 1, blocked: 1 });
    const [back] = await catalog.listDeviceUpdates({ rolloutId: rollout.id, states: [] }, { limit: 1 });
    expect(back?.failureReason).toBe("ROLLBACK_TARGET_MISSING");
  });
});

describe("a preview", () => {
  it("that takes too long, or whose caller leaves, ends with its reason and leaves no query running", async () => {
    const firmwareId = await release(world, "5.0.0");
    const { index } = replica.engine;
    const parts = {
      pool: replica.database.pool,
      index,
      defaults: { failureThresholdPercent: 10, deviceTimeoutMs: hour },
      clock: world.clock,
      heartbeatIntervalMs: 60_000,
    };
    const isLate = new RolloutPreview({ ...parts, timeoutMs: 300 });
    const preview = new RolloutPreview(parts);
    const client = await world.database.adminPool.connect();
    try {
      await client.query("BEGIN");
      await client.query("LOCK TABLE devices IN ACCESS EXCLUSIVE MODE");
      const waiting = async () => {
        // Within a transaction the view stands still.
        const { rows } = await world.database.adminPool.query(
          `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
             AND query LIKE '%FROM devices d LEFT JOIN device_state%' AND pid <> pg_backend_pid()`,
        );
        return rows.length;
      };
      // The answer may be here before the view knows. Nobody else ends them so soon: the lock may be waited for for 5 s.
      const gone = () => eventually(async () => expect(await waiting()).toBe(0), 4_000);
      await expect(isLate.ofNew(wanted(firmwareId))).rejects.toMatchObject({
        code: "deadline_exceeded",
        reason: "DEADLINE_EXCEEDED",
        message: expect.stringContaining("could not be counted in time"),
      });
      await gone();

      const caller = new AbortController();
      const left = preview.ofNew(wanted(firmwareId), caller.signal);
      left.catch(() => undefined);
      await eventually(async () => expect(await waiting()).toBe(1));
      // The next one waits for its turn, and may leave as well.
      const next = preview.ofNew(wanted(firmwareId), caller.signal);
      next.catch(() => undefined);
      const reason = new Error("left");
      caller.abort(reason);
      await expect(left).rejects.toBe(reason);
      await expect(next).rejects.toBe(reason);
      await gone();
    } finally {
      await client.query("ROLLBACK");
      client.release();
    }
    // The connections are whole.
    const same = wanted(firmwareId, { salt: randomUUID() });
    const [one, other] = await Promise.all([preview.ofNew(same), preview.ofNew(same)]);
    // Each would be a rollout of its own.
    expect(one).toEqual({ ...other, rollout: one?.rollout });
  });
});

async function schedule(firmwareId: string) {
  const startAt = new Date(world.clock.now().getTime() + hour);
  const scheduled = await planned(wanted(firmwareId, { rings, policy: { pauseOnFailure: false, startAt } }));
  expect(scheduled.state).toBe("SCHEDULED");
  return scheduled;
}

async function planned(rollout: ReturnType<typeof wanted>) {
  const { catalog } = replica.engine;
  const { id } = await catalog.create(rollout, { actor, requestId: randomUUID() });
  return await catalog.start({ id, actor, reason: "" });
}

function set(firmwareId: string, change: string) {
  return world.database.adminPool.query(
    `UPDATE firmware_updates SET ${change}, updated_at = clock_timestamp() WHERE id = $1`,
    [firmwareId],
  );
}

async function auditOf(rolloutId: string) {
  const { rows } = await world.database.adminPool.query<Record<"actor" | "action" | "reason", string>>(
    "SELECT actor, action, reason, details FROM audit_events WHERE resource_id = $1 ORDER BY id",
    [rolloutId],
  );
  return rows;
}

async function enrol(size: number, group: string, securityCounter = 0): Promise<Fleet> {
  const fleet = await Fleet.enrol(world, size, "1.0.0", securityCounter);
  await world.database.adminPool.query("UPDATE devices SET groups = $2 WHERE id = ANY ($1::uuid[])", [
    fleet.devices.map(({ id }) => id),
    [group],
  ]);
  return fleet;
}
