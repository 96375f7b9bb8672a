import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isSampled, ringIndex } from "../../src/rollout/model/ring-place.ts";
import { checkedDevice } from "../../src/rollout/offer/checked-device.ts";
import { allRules } from "../../src/rollout/rules/all-rules.ts";
import { isOfferedUnknown } from "../../src/rollout/rules/readiness-rules.ts";
import { eventually } from "../support/eventually.ts";
import {
  actor,
  createWorld,
  Fleet,
  type Replica,
  release,
  run,
  startReplica,
  until,
  type World,
  wanted,
} from "./rollout-fixture.ts";

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

const everybody = [{ name: "all", percent: 100 }];

describe("a rollout", () => {
  it("refuses a filter that is none, and names the field", async () => {
    const firmwareId = await release(world, "9.0.0");
    const create = replica.engine.catalog.create(wanted(firmwareId, { targeting: { filter: "groups =" } }), {
      actor,
    });
    await expect(create).rejects.toMatchObject({
      reason: "INVALID_FILTER",
      fields: [{ field: "targeting.filter" }],
    });
  });

  it("makes as many offers in a minute as it may, over all replicas, and then more", async () => {
    await using second = await startReplica(world);
    const fleet = await enrol(30, "pace");
    const firmwareId = await release(world, "9.1.0");
    const rollout = await run(
      replica,
      wanted(firmwareId, {
        rings: everybody,
        targeting: { groups: ["pace"] },
        policy: { pauseOnFailure: false, offersPerMinute: 10 },
      }),
    );
    await eventually(() => expect(second.engine.index.get(rollout.id)).toBeDefined());
    const half = fleet.devices.slice(0, 15);
    const rest = fleet.devices.slice(15);
    const offered = [...(await fleet.offers(replica, half)), ...(await fleet.offers(second, rest))];
    expect(offered).toHaveLength(10);
    const deferrals = fleet.devices.find((each) => !offered.some(([device]) => device === each));
    const answer = deferrals && (await fleet.check(replica, deferrals));
    expect(answer).toMatchObject({ kind: "none", reason: "PACED", retry: { afterMs: expect.any(Number) } });
    world.clock.advance(61_000);
    expect(await fleet.offers(replica)).toHaveLength(20);
    await replica.engine.catalog.abort({ id: rollout.id, actor, reason: "" });
  });

  it("takes a device over its mandatory steps, and explains each answer", async () => {
    const fleet = await enrol(1, "steps");
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    await release(world, "2.1.0");
    await release(world, "2.2.0");
    await world.database.adminPool.query(
      "UPDATE firmware_updates SET mandatory_step = true WHERE version IN ('2.1.0', '2.2.0')",
    );
    const rollout = await run(
      replica,
      wanted(await release(world, "2.3.0"), {
        rings: everybody,
        targeting: { groups: ["steps"] },
        policy: { pauseOnFailure: false, verificationMs: 0 },
      }),
    );
    const taken: string[] = [];
    for (let round = 0; round < 3; round++) {
      const explained = await replica.engine.explainer.explain(rollout.id, device.id);
      expect(explained).toMatchObject({ reason: undefined, ring: "all" });
      const offers = await fleet.offers(replica);
      taken.push(...offers.map(([, update]) => `${update.action} ${update.toVersion}`));
      await fleet.take(replica, offers);
      await eventually(() => expect(replica.engine.tracker.get(device.id)).toBeUndefined());
    }
    expect(taken).toEqual(["STEP 2.1.0", "STEP 2.2.0", "INSTALL 2.3.0"]);
    const after = await until(replica, rollout.id, ({ rings }) =>
      expect(rings[0]?.counters.succeeded).toBe(1),
    );
    expect(after.rings[0]?.counters).toMatchObject({ offered: 1, inProgress: 0, succeeded: 1 });
    const explained = await replica.engine.explainer.explain(rollout.id, device.id);
    expect(explained).toMatchObject({ reason: "UP_TO_DATE", update: { state: "SUCCEEDED" } });
    await world.database.adminPool.query("UPDATE firmware_updates SET mandatory_step = false");
  });

  it("brings an application without a reboot, proven by the component's version", async () => {
    const fleet = await enrol(1, "apps");
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    const firmwareId = await release(world, "1.0.0");
    await world.database.adminPool.query(
      "UPDATE firmware_updates SET product = 'navigator', kind = 'APPLICATION', component = 'nav' WHERE id = $1",
      [firmwareId],
    );
    const rollout = await run(
      replica,
      wanted(firmwareId, {
        rings: everybody,
        targeting: { groups: ["apps"] },
        policy: { pauseOnFailure: false, verificationMs: 60_000 },
      }),
    );
    const [offer] = await fleet.offers(replica);
    expect(offer?.[1]).toMatchObject({ component: "nav", fromVersion: "", toVersion: "1.0.0" });
    const beat = (components: Record<string, string> | undefined) => {
      const record = { ...fleet.record(device), components };
      replica.directory.observe([record]);
      replica.engine.observe([record]);
    };
    beat({ other: "1.0.0" });
    expect(replica.engine.tracker.get(device.id)?.state).toBe("OFFERED");
    beat({ nav: "1.0.0" });
    await eventually(() => expect(replica.engine.tracker.get(device.id)?.state).toBe("VERIFYING"));
    world.clock.advance(61_000);
    beat({ nav: "1.0.0" });
    await until(replica, rollout.id, ({ rings }) => expect(rings[0]?.counters.succeeded).toBe(1));
    expect(await fleet.offers(replica)).toEqual([]);
  });
});

describe("a preview", () => {
  it("counts what the rules say of each device, in every ring, whatever the rollout asks", async () => {
    const size = 300;
    const fleet = await enrol(size, "preview", "1.0.0");
    await world.database.adminPool.query(
      `UPDATE devices SET hardware_model = 't' || (length(id::text) + ('x' || right(id::text, 1))::bit(4)::int % 3),
         tags = CASE WHEN right(id::text, 1) < '5' THEN '{a}' ELSE '{b}' END::text[],
         update_pin = CASE right(id::text, 1) WHEN '1' THEN 'canary' WHEN '2' THEN 'excluded' ELSE 'none' END,
         quarantined_at = CASE WHEN right(id::text, 1) IN ('a', 'b') THEN now() END,
         blocked_at = CASE WHEN right(id::text, 1) = 'b' THEN now() END,
         metadata = CASE WHEN right(id::text, 1) = '3' THEN '{"time_zone": "Asia/Tokyo"}' ELSE '{}' END::jsonb
       WHERE groups @> '{preview}'`,
    );
    await world.database.adminPool.query(
      `INSERT INTO device_state (device_id, last_seen_at, epoch, last_sequence, firmware_version, boot_id, uptime_ms,
         battery_percent, charging, storage_free_bytes, network, security_counter)
       SELECT id, now(), 1, 1, CASE WHEN right(id::text, 1) IN ('4', '5') THEN '9.5.0' ELSE '1.0.0' END, 'b', 1,
         ('x' || right(id::text, 2))::bit(8)::int / 2.56, right(id::text, 1) = '6',
         ('x' || right(id::text, 4))::bit(16)::int * 20, ('{ETHERNET,WIFI,CELLULAR,LPWAN,SATELLITE}'::text[])[('x' || right(id::text, 1))::bit(4)::int % 6], 0
       FROM devices WHERE groups @> '{preview}' AND right(id::text, 1) <> '7'
       ON CONFLICT (device_id) DO NOTHING`,
    );
    for (const { id } of fleet.devices) replica.directory.reload(id);
    const firmwareId = await release(world, "9.4.0", { minBatteryPercent: 40 });
    const { engine, directory } = replica;
    const wishes = fc.record({
      tags: fc.constantFrom<string[][]>([], ["a"]),
      filter: fc.constantFrom("", "battery_percent > 20", "hardware_model = t36 OR tags:b"),
      percent: fc.constantFrom(100, 60),
      canaryGroups: fc.constantFrom<string[][]>([], ["preview"]),
      currentVersionRange: fc.constantFrom("", "<9.0.0"),
      storageFactor: fc.constantFrom(0, 1.5),
      maxMeteredBytes: fc.constantFrom(undefined, 1),
      requireReadings: fc.boolean(),
      window: fc.constantFrom(undefined, "00:00", "20:00"),
    });
    await fc.assert(
      fc.asyncProperty(
        wishes,
        async ({ tags, filter, percent, canaryGroups, currentVersionRange, window, ...policy }) => {
          const rollout = await engine.catalog.create(
            wanted(firmwareId, {
              targeting: { groups: ["preview"], tags, filter, percent, canaryGroups, currentVersionRange },
              policy: {
                pauseOnFailure: false,
                ...policy,
                maintenanceWindows:
                  window === undefined
                    ? []
                    : [{ weekdays: [], start: window, durationMs: 3_600_000, timeZone: "" }],
              },
            }),
            { actor, requestId: randomUUID() },
          );
          const preview = await engine.preview.ofRollout(rollout.id);
          const firmware = await engine.index.firmware(firmwareId);
          if (firmware === undefined) throw new Error("no firmware");
          const compiled = await engine.index.compile(rollout, firmware);
          const rings = rollout.rings.map(() => 0);
          // A first ring that nobody waits in is told as wide as it will be.
          const wide = compiled.rings.map((ring, at) => ({
            ...ring,
            percentBasisPoints: preview.rings[at]?.percentBasisPoints ?? 0,
          }));
          const held = new Map<string, number>();
          let targeted = 0;
          let ready = 0;
          let unknownReadings = 0;
          for (const { id } of fleet.devices) {
            const device = checkedDevice(await directory.get(id));
            const judged = allRules
              .filter(({ scope }) => scope !== "rollout")
              .map((rule) =>
                rule.judge(compiled, device, { ...nothing, nowMs: () => world.clock.now().getTime() }),
              )
              .find((reason) => reason !== undefined);
            if (judged === "NOT_TARGETED") continue;
            expect(isSampled(compiled, device)).toBe(true);
            targeted += 1;
            const ring = ringIndex({ ...compiled, rings: wide }, device);
            rings[ring] = (rings[ring] ?? 0) + 1;
            if (judged === undefined) {
              ready += 1;
              if (isOfferedUnknown(compiled, device)) unknownReadings += 1;
            } else held.set(judged, (held.get(judged) ?? 0) + 1);
          }
          expect(preview.targetedCount).toBe(targeted);
          expect(preview.readyCount).toBe(ready);
          expect(preview.unknownReadingsCount).toBe(unknownReadings);
          expect(preview.rings.map(({ census }) => census.devices)).toEqual(rings);
          expect(new Map(preview.heldBack.map(({ reason, count }) => [reason, count]))).toEqual(held);
          for (const { deviceIds, count } of preview.heldBack) {
            expect(deviceIds).toHaveLength(Math.min(10, count));
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it("looks at a rollout that does not exist yet, with the errors of its creation", async () => {
    await enrol(10, "next");
    const firmwareId = await release(world, "9.6.0");
    const targeting = { groups: ["next"] };
    const preview = await replica.engine.preview.ofNew(wanted(firmwareId, { targeting }));
    expect(preview).toMatchObject({
      targetedCount: 10,
      readyCount: 10,
      currentVersions: [{ name: "", count: 10 }],
      hardwareModels: [{ name: "t100", count: 10 }],
    });
    const wrong = replica.engine.preview.ofNew(wanted(firmwareId, { targeting: { filter: "(" } }));
    await expect(wrong).rejects.toMatchObject({ reason: "INVALID_FILTER" });
    const none = replica.engine.preview.ofNew(wanted(randomUUID()));
    await expect(none).rejects.toMatchObject({ code: "not_found" });
  });
});

const nothing = {
  wasTried: () => false,
  inProgress: () => 0,
  pacedUntilMs: () => 0,
  openRollout: () => undefined,
};

async function enrol(size: number, group: string, version?: string): Promise<Fleet> {
  const fleet = await Fleet.enrol(world, size, version);
  await world.database.adminPool.query("UPDATE devices SET groups = $2 WHERE id = ANY ($1::uuid[])", [
    fleet.devices.map(({ id }) => id),
    [group],
  ]);
  return fleet;
}
