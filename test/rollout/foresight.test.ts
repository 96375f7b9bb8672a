import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createManifest } from "../../src/manifest/manifest.ts";
import type { RolloutWarning } from "../../src/rollout/model/foresight.ts";
import type { NewRollout } from "../../src/rollout/model/new-rollout.ts";
import {
  actor,
  createWorld,
  Fleet,
  minute,
  type Replica,
  release,
  run,
  startReplica,
  until,
  type World,
  wanted,
} from "./rollout-fixture.ts";

const { signal } = new AbortController();
const defaults = { rings: [], policy: { pauseOnFailure: false, verificationMs: minute } };

describe("the rings of a preview", () => {
  it.each([1, 2, 3, 40])(
    "are those of the rollout that is created with its salt: %d devices",
    async (size) => {
      await using world = await createWorld();
      await using replica = await startReplica(world);
      const fleet = await Fleet.enrol(world, size);
      await heardFrom(replica, fleet);
      const wish = wanted(await release(world, "1.1.0"), defaults);
      const preview = await replica.engine.preview.ofNew(wish);
      const { salt } = preview.rollout;
      const { id } = await run(replica, { ...wish, salt });
      await replica.engine.census();
      // A first ring that nobody is in is widened, and counted again.
      await replica.engine.census();
      const rollout = await until(replica, id, (it) =>
        expect(it.rings[0]?.census?.awaited).toBeGreaterThan(0),
      );
      expect(rollout.salt).toBe(salt);
      expect(rollout.rings.map(({ percentBasisPoints }) => percentBasisPoints)).toEqual(
        preview.rings.map(({ percentBasisPoints }) => percentBasisPoints),
      );
      expect(rollout.rings.map(({ census }) => census)).toEqual(
        preview.rings.map(({ census }) => expect.objectContaining(census)),
      );
      const offered = await fleet.offers(replica);
      expect(offered).toHaveLength(preview.rings[0]?.census.devices ?? 0);
    },
  );

  it("cannot be those of two rollouts", async () => {
    await using world = await createWorld();
    await using replica = await startReplica(world);
    const { catalog } = replica.engine;
    const wish = wanted(await release(world, "1.1.0"), { ...defaults, salt: randomUUID() });
    const by = { actor, requestId: randomUUID() };
    const first = await catalog.create(wish, by);
    expect((await catalog.create(wish, by)).id).toBe(first.id);
    const again = (salt: string) => catalog.create({ ...wish, salt }, { actor, requestId: undefined });
    const taken = { code: "already_exists", reason: "DUPLICATE" };
    await expect(again(first.salt)).rejects.toMatchObject(taken);
    const plain = await catalog.create(wanted(wish.firmwareId, defaults), { actor, requestId: undefined });
    expect(plain.salt).toBe(plain.id);
    await expect(again(plain.id)).rejects.toMatchObject(taken);
  });
});

it("a ring's devices that wait are reachable, held back, or gone", async () => {
  await using world = await createWorld();
  await using replica = await startReplica(world);
  const groups = { silent: 4, offline: 3, empty: 2, ready: 5, excluded: 1, current: 6 };
  const fleets = new Map<string, Fleet>();
  for (const [name, size] of Object.entries(groups)) {
    fleets.set(name, await Fleet.enrol(world, size, name === "current" ? "1.1.0" : "1.0.0"));
  }
  const of = (name: string): Fleet => fleets.get(name) as Fleet;
  await heardFrom(replica, of("offline"));
  world.clock.advance(10 * minute);
  for (const name of ["empty", "ready", "excluded", "current"]) await heardFrom(replica, of(name));
  const { adminPool } = world.database;
  await adminPool.query("UPDATE device_state SET battery_percent = 5 WHERE device_id = ANY ($1)", [
    of("empty").devices.map(({ id }) => id),
  ]);
  await adminPool.query("UPDATE devices SET update_pin = 'excluded' WHERE id = ANY ($1)", [
    of("excluded").devices.map(({ id }) => id),
  ]);
  const firmwareId = await release(world, "1.1.0", { minBatteryPercent: 20 });
  const rings = [{ name: "all", percent: 100 }];
  const { id } = await run(replica, wanted(firmwareId, { ...defaults, rings }));
  await replica.engine.census();
  const { rings: counted } = await until(replica, id, (it) => expect(it.rings[0]?.census).toBeDefined());
  expect(counted[0]?.census).toMatchObject({
    devices: 21,
    eligible: 14,
    awaited: 14,
    reachable: 5,
    heldBack: 2,
    gone: 7,
  });
});

describe("a warning", () => {
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

  /** What is to be known of a new rollout of the firmware to the fleet alone. */
  async function warnings(
    fleet: Fleet,
    firmwareId: string,
    other: Partial<NewRollout> = {},
  ): Promise<readonly RolloutWarning[]> {
    const group = `g${randomUUID()}`;
    await world.database.adminPool.query("UPDATE devices SET groups = $2 WHERE id = ANY ($1)", [
      fleet.devices.map(({ id }) => id),
      [group],
    ]);
    const wish = wanted(firmwareId, { ...defaults, ...other, targeting: { groups: [group] } });
    return replica.engine.foresight.ofNew(wish, signal);
  }

  async function heard(size: number, version?: string, securityCounter?: number): Promise<Fleet> {
    const fleet = await Fleet.enrol(world, size, version, securityCounter);
    await heardFrom(replica, fleet);
    return fleet;
  }

  it("names the versions that devices could not be rolled back to, and what mends it", async () => {
    const fleet = await heard(3, "2.0.0");
    const firmwareId = await release(world, "2.5.0");
    const found = await warnings(fleet, firmwareId);
    expect(about(found, "ROLLBACK_TARGET_MISSING")).toEqual([
      {
        code: "ROLLBACK_TARGET_MISSING",
        message: "3 devices could not be rolled back: os 2.0.0, which runs there, is not in the catalogue",
        count: 3,
        subject: "2.0.0",
        remedies: [expect.objectContaining({ action: "UPLOAD_FIRMWARE", product: "os", version: "2.0.0" })],
      },
    ]);
    const baseId = await release(world, "2.0.0");
    expect(about(await warnings(fleet, firmwareId), "ROLLBACK_TARGET_MISSING")).toEqual([]);
    await world.database.adminPool.query("UPDATE firmware_updates SET state = 'UPLOADED' WHERE id = $1", [
      baseId,
    ]);
    expect(about(await warnings(fleet, firmwareId), "ROLLBACK_TARGET_MISSING")).toMatchObject([
      { subject: "2.0.0", remedies: [{ action: "RELEASE_FIRMWARE", firmwareId: baseId }] },
    ]);
    await world.database.adminPool.query(
      "UPDATE firmware_updates SET state = 'RELEASED', hardware_models = '{other}' WHERE id = $1",
      [baseId],
    );
    expect(about(await warnings(fleet, firmwareId), "ROLLBACK_TARGET_UNFIT")).toMatchObject([{ count: 3 }]);
  });

  it("says that a higher security counter lets nobody back", async () => {
    const fleet = await heard(2, "3.0.0");
    await release(world, "3.0.0");
    const found = await warnings(fleet, await release(world, "3.1.0", { securityCounter: 7 }));
    expect(about(found, "ROLLBACK_BLOCKED_BY_SECURITY_COUNTER")).toMatchObject([
      { count: 2, subject: "3.0.0" },
    ]);
  });

  it("tells rings that nobody, or one device alone, is in", async () => {
    const fleet = await heard(2, "3.0.0");
    const found = await warnings(fleet, await release(world, "3.2.0"));
    const canary = found.filter(({ subject }) => subject === "canary");
    expect(canary.map(({ code }) => code)).toContain("RING_OF_ONE");
    const rings = found.filter(({ code }) => code.startsWith("RING_"));
    // Two devices are in at most two of the four rings.
    expect(new Set(rings.map(({ subject }) => subject)).size).toBeGreaterThanOrEqual(2);
    expect(about(found, "RING_EMPTY").length).toBeGreaterThanOrEqual(2);
  });

  it("says that it is for nobody, or that nobody waits for it", async () => {
    const firmwareId = await release(world, "3.3.0");
    const nobody = await warnings(await Fleet.enrol(world, 0), firmwareId);
    expect(nobody).toMatchObject([{ code: "NO_DEVICE", remedies: [{ action: "ENROL_DEVICES" }] }]);
    const done = await warnings(await heard(2, "3.3.0"), firmwareId);
    expect(done).toMatchObject([
      { code: "NO_DEVICE", message: "none of the targeted devices (2) waits for the update", remedies: [] },
    ]);
  });

  it("counts devices that are offline, were never heard of, run too old a version, or never told their charge", async () => {
    const offline = await heard(3, "3.0.0");
    world.clock.advance(10 * minute);
    const silent = await Fleet.enrol(world, 2, "3.0.0");
    const old = await heard(4, "0.1.0");
    const charged = await heard(5, "3.0.0");
    await world.database.adminPool.query(
      "UPDATE device_state SET battery_percent = 80 WHERE device_id = ANY ($1)",
      [charged.devices.slice(1).map(({ id }) => id)],
    );
    offline.devices.push(...silent.devices, ...old.devices, ...charged.devices);
    const firmwareId = await release(world, "3.4.0", { minCurrentVersion: "1.0.0", minBatteryPercent: 30 });
    const found = await warnings(offline, firmwareId);
    expect(about(found, "DEVICES_OFFLINE")).toMatchObject([{ count: 3 }]);
    expect(about(found, "VERSION_TOO_OLD")).toMatchObject([{ count: 4 }]);
    // Of three that are offline the charge is not known either.
    expect(about(found, "READING_UNKNOWN")).toMatchObject([{ count: 4, subject: "min_battery_percent" }]);
    expect(about(found, "DEVICES_NEVER_HEARD")).toMatchObject([
      { count: 2, message: "2 devices never heard of" },
    ]);
  });

  it("sees devices that are expected too rarely for the time to return, which are not offline in between", async () => {
    const fleet = await heard(3, "3.0.0");
    await world.database.adminPool.query("UPDATE devices SET expected_interval_ms = $2 WHERE id = ANY ($1)", [
      fleet.devices.slice(1).map(({ id }) => id),
      24 * 60 * minute,
    ]);
    world.clock.advance(10 * minute);
    const firmwareId = await release(world, "3.4.1");
    const found = await warnings(fleet, firmwareId, { policy: { returnMs: 10 * minute } });
    expect(about(found, "DEVICES_OFFLINE")).toMatchObject([{ count: 1 }]);
    expect(about(found, "RETURN_TOO_SHORT")).toMatchObject([
      {
        count: 2,
        message:
          "2 devices expected so rarely that they would be missing after return_duration (600 s) though they are well",
      },
    ]);
    expect(about(await warnings(fleet, firmwareId), "RETURN_TOO_SHORT")).toEqual([]);
  });

  it("sees devices that refuse to go back to what they never ran, unless its manifest lets them", async () => {
    const fleet = await heard(3, "3.9.0");
    const firmwareId = await release(world, "3.8.2");
    const back = { policy: { allowDowngrade: true } };
    const signed = async (downgradeFrom: string): Promise<void> => {
      await world.database.adminPool.query(
        "UPDATE firmware_updates SET manifest = $2, updated_at = now() WHERE id = $1",
        [
          firmwareId,
          createManifest({
            product: "os",
            version: "3.8.2",
            securityCounter: 0,
            securityFix: false,
            sha256: "ab".repeat(32),
            sizeBytes: 1,
            deviceTypes: ["thermostat"],
            hardwareModels: [],
            minCurrentVersion: "",
            downgradeFrom,
            created: new Date(0),
            expires: undefined,
          }),
        ],
      );
      await replica.engine.tick();
    };
    const refused = [
      { count: 3, subject: "3.9.0", message: expect.stringContaining("downgrade_from 3.9.0") },
    ];
    expect(about(await warnings(fleet, firmwareId, back), "DOWNGRADE_REFUSED")).toMatchObject(refused);
    expect(about(await warnings(fleet, firmwareId), "DOWNGRADE_REFUSED")).toEqual([]);
    await signed("3.8.5");
    expect(about(await warnings(fleet, firmwareId, back), "DOWNGRADE_REFUSED")).toMatchObject(refused);
    await signed("3.9.0");
    expect(about(await warnings(fleet, firmwareId, back), "DOWNGRADE_REFUSED")).toEqual([]);
    const newer = await release(world, "3.9.1");
    expect(about(await warnings(fleet, newer, back), "DOWNGRADE_REFUSED")).toEqual([]);
  });

  it("names a rollout that goes first, and one whose update is under way", async () => {
    const fleet = await heard(3, "3.0.0");
    const other = await run(replica, wanted(await release(world, "3.6.0"), { policy: { priority: 5 } }));
    const firmwareId = await release(world, "3.5.0");
    expect(about(await warnings(fleet, firmwareId), "OTHER_ROLLOUT_FIRST")).toMatchObject([
      { subject: other.id, count: 3, remedies: [{ action: "ABORT", rolloutId: other.id }] },
    ]);
    const priority = { ...defaults.policy, priority: 6 };
    expect(about(await warnings(fleet, firmwareId, { policy: priority }), "OTHER_ROLLOUT_FIRST")).toEqual([]);
    await replica.engine.catalog.promote({ id: other.id, actor, reason: "", ring: "production" });
    const offers = await fleet.offers(replica);
    expect(about(await warnings(fleet, firmwareId), "OTHER_UPDATE_OPEN")).toMatchObject([
      { subject: other.id, count: offers.length },
    ]);
    await replica.engine.catalog.abort({ id: other.id, actor, reason: "" });
  });

  it("sees what the plan's own times do", async () => {
    const fleet = await heard(1, "3.0.0");
    const now = world.clock.now();
    const found = await warnings(fleet, await release(world, "3.7.0"), {
      policy: {
        verificationMs: 10 * minute,
        deviceTimeoutMs: 5 * minute,
        returnMs: 1_000,
        startAt: new Date(now.getTime() - minute),
        maintenanceWindows: [
          // Three days from now at the latest, two at the earliest.
          {
            weekdays: [((now.getUTCDay() + 2) % 7) + 1],
            start: "12:00",
            durationMs: 60 * minute,
            timeZone: "",
          },
        ],
      },
    });
    const codes = found.map(({ code }) => code);
    expect(codes).toEqual(
      expect.arrayContaining(["TIMEOUT_TOO_SHORT", "RETURN_TOO_SHORT", "START_TIME_PAST", "WINDOW_FAR"]),
    );
  });

  it("is no refusal: what cannot be counted in time is said", async () => {
    const late = new AbortController();
    const fleet = await heard(1, "3.0.0");
    const firmwareId = await release(world, "3.8.0");
    late.abort(new Error("the caller left"));
    await expect(replica.engine.foresight.ofNew(wanted(firmwareId, defaults), late.signal)).rejects.toThrow(
      "the caller left",
    );
    // What is refused is not warned of.
    expect(await warnings(fleet, randomUUID())).toEqual([]);
  });
});

function about(found: readonly RolloutWarning[], code: RolloutWarning["code"]): readonly RolloutWarning[] {
  return found.filter((each) => each.code === code);
}

/** The devices beat, and that is known to the database. */
async function heardFrom(replica: Replica, fleet: Fleet): Promise<void> {
  fleet.beat(replica);
  await replica.states.flush();
}
