import { describe, expect, it } from "vitest";
import { seededRandom } from "../../src/agent/seeded-random.ts";
import { parseDeviceFilter } from "../../src/device/filter/device-filter.ts";
import { FleetPresence } from "../../src/device/fleet/fleet-presence.ts";
import { PresenceLog } from "../../src/device/fleet/presence-log.ts";
import { DeviceTypes } from "../../src/device/registry/device-types.ts";
import { ClientFactsWriter } from "../../src/device/state/client-facts-writer.ts";
import { silent } from "../access/access-fixture.ts";
import {
  type DeviceReplica,
  enrolmentKey,
  enrolmentOf,
  heartbeatOf,
  joinDevices,
  startDevices,
} from "./device-fixture.ts";

const heartbeatIntervalMs = 60_000;
const hour = 3_600_000;
const day = 24 * hour;
const actor = "operator:ada";

/** What a replica has that knows how often devices are expected. */
function partsOf(devices: DeviceReplica) {
  const { access, changes } = devices;
  const { audit, clock, database } = access;
  const parts = { database, audit, changes, clock, logger: silent };
  const fleet = new FleetPresence({ ...parts, heartbeatIntervalMs });
  changes.subscribe(fleet.tracker);
  const { overview } = fleet.view({ streams: { size: 0 }, updates: { openUpdateCount: async () => 0 } });
  const log = new PresenceLog(database.pool);
  return {
    clock,
    fleet,
    types: new DeviceTypes(parts),
    facts: new ClientFactsWriter(parts),
    /** How many devices are online, late and offline, by the counters and by filters, which must agree. */
    presences: async (): Promise<number[]> => {
      const { online, late, offline } = await overview.get();
      const { signal } = new AbortController();
      const filtered = ["ONLINE", "LATE", "OFFLINE"].map((presence) =>
        devices.registry.count(parseDeviceFilter(`presence = ${presence}`), { signal }),
      );
      expect(await Promise.all(filtered)).toEqual([online, late, offline]);
      return [online, late, offline];
    },
    told: async (): Promise<string[]> =>
      (await log.after(0, 100)).changes.map(({ previous, presence }) => `${previous} to ${presence}`),
    beat: async (deviceId: string, sequence: number): Promise<void> => {
      const heard = [heartbeatOf(deviceId, sequence, { receivedAt: clock.now() })];
      await fleet.tracker.prepare(heard);
      devices.directory.observe(heard);
      await devices.states.flush();
      fleet.tracker.heard(heard);
      await fleet.tracker.tick();
    },
    /** What a device says of itself when it opens a stream. */
    says: async (deviceId: string, intervalMs: number | undefined): Promise<void> => {
      const facts = new ClientFactsWriter(parts);
      const client = { agentVersion: "1", capabilities: [], clockQuality: "NTP" };
      facts.streamOpened({ deviceId, ...client, heartbeatIntervalMs: intervalMs });
      await facts[Symbol.asyncDispose]();
    },
    /** What an operator says of a type. */
    expects: async (types: DeviceTypes, name: string, expectedIntervalMs: number): Promise<void> => {
      await types.update({ actor, name, expectedIntervalMs, reason: "" });
      await types.spread();
    },
  };
}

async function enrol(devices: DeviceReplica, serialNumber: string, deviceType = "thermostat") {
  const key = await enrolmentKey(devices);
  return (await devices.enrolment.enrol(enrolmentOf(key, serialNumber, { deviceType }))).deviceId;
}

function later(devices: DeviceReplica, ms: number): void {
  const { clock } = devices.access;
  clock.setWallClock(new Date(clock.now().getTime() + ms));
}

describe("the interval in which a device is expected", () => {
  it.each([
    ["before its first heartbeat", false],
    ["after it", true],
  ])(
    "is what an operator says of it, else what it says, else what is said of its type (%s)",
    async (_, first) => {
      await using devices = await startDevices();
      const { types, expects, says, beat } = partsOf(devices);
      const id = await enrol(devices, "SN-1");
      if (first) await beat(id, 1);
      let sequence = 1;
      const expected = async () => {
        const { expectedInterval } = await devices.registry.get(id);
        if (!first) await beat(id, ++sequence);
        // As counters, filters and decisions in memory have it.
        const { rows } = await devices.access.database.adminPool.query(
          "SELECT expected_interval_ms::int AS ms FROM device_state WHERE device_id = $1",
          [id],
        );
        const inMemory = (await devices.directory.get(id)).expectedIntervalMs;
        expect([rows[0]?.ms ?? undefined, inMemory]).toEqual([expectedInterval.ms, expectedInterval.ms]);
        return [expectedInterval.source, expectedInterval.ms];
      };
      await expects(types, "thermostat", hour);
      expect(await expected()).toEqual(["device_type", hour]);
      await says(id, 2 * hour);
      expect(await expected()).toEqual(["device", 2 * hour]);
      await devices.registry.update({ actor, id, expectedIntervalMs: day });
      expect(await expected()).toEqual(["operator", day]);
      await devices.registry.update({ actor, id, expectedIntervalMs: 0 });
      expect(await expected()).toEqual(["device", 2 * hour]);
      await says(id, undefined);
      expect(await expected()).toEqual(["device_type", hour]);
      await devices.registry.update({ actor, id, deviceType: "camera" });
      expect(await expected()).toEqual(["setting", undefined]);
      await devices.registry.update({ actor, id, deviceType: "thermostat" });
      await expects(types, "thermostat", 0);
      expect(await expected()).toEqual(["setting", undefined]);
      expect(await types.list()).toEqual([
        { name: "thermostat", deviceCount: 1, expectedIntervalMs: undefined, updatedAt: undefined },
      ]);
    },
  );

  it("decides when it is late and when it is offline, everywhere", async () => {
    await using devices = await startDevices();
    const { types, expects, says, beat, presences, told, fleet } = partsOf(devices);
    const [plain, weekly, daily] = [
      await enrol(devices, "SN-1"),
      await enrol(devices, "SN-2", "buoy"),
      await enrol(devices, "SN-3"),
    ];
    await expects(types, "buoy", 7 * day);
    await says(daily, day);
    for (const id of [plain, weekly, daily]) await beat(id, 1);
    const came = Array.from({ length: 3 }, () => "unknown to online");
    expect([await presences(), await told()]).toEqual([[3, 0, 0], came]);
    later(devices, day);
    await fleet.tracker.tick();
    expect([await presences(), await told()]).toEqual([
      [2, 0, 1],
      [...came, "online to offline"],
    ]);
    later(devices, day);
    await fleet.tracker.tick();
    expect([await presences(), await told()]).toEqual([
      [1, 1, 1],
      [...came, "online to offline", "online to late"],
    ]);
    // On a replica that knows nothing but the database.
    const other = partsOf(devices);
    await other.fleet.counters.recount();
    expect(await other.presences()).toEqual([1, 1, 1]);
    later(devices, 3 * day);
    await fleet.tracker.tick();
    expect(await presences()).toEqual([1, 0, 2]);
    expect((await told()).at(-1)).toBe("late to offline");
  });

  it("holds at once when it is changed, also where it makes a difference", async () => {
    await using devices = await startDevices();
    const { types, expects, beat, presences, told, fleet } = partsOf(devices);
    const id = await enrol(devices, "SN-1");
    await beat(id, 1);
    later(devices, hour);
    await fleet.tracker.tick();
    expect(await presences()).toEqual([0, 0, 1]);
    await expects(types, "thermostat", day);
    await fleet.tracker.tick();
    expect(await presences()).toEqual([1, 0, 0]);
    await devices.registry.update({ actor, id, expectedIntervalMs: 1_500 });
    await fleet.tracker.tick();
    expect(await presences()).toEqual([0, 0, 1]);
    expect(await told()).toContain("online to offline");
  });

  it("is that of its type for every device, also of those that come or change while it is changed", async () => {
    await using one = await startDevices();
    await using two = await joinDevices(one.access.url);
    const replicas = [one, two].map((devices) => ({ devices, parts: partsOf(devices) }));
    const random = seededRandom(11);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const kinds = ["a", "b", "c"];
    const ids: string[] = [];
    for (let n = 0; n < 60; n++) ids.push(await enrol(one, `SN-${n}`, pick(kinds)));
    for (let round = 1; round <= 15; round++) {
      await Promise.all([
        ...replicas.map(({ devices }) => {
          devices.directory.observe(ids.filter(() => random() < 0.2).map((id) => heartbeatOf(id, round)));
          return devices.states.flush();
        }),
        ...replicas.map(({ parts }) => parts.expects(parts.types, pick(kinds), pick([0, 1_000, hour, day]))),
        pick(replicas).devices.registry.update({ actor, id: pick(ids), deviceType: pick(kinds) }),
        pick(replicas).parts.says(pick(ids), pick([undefined, 5_000])),
      ]);
    }
    for (const { parts } of replicas) await parts.types.spread();
    const { adminPool } = one.access.database;
    const wrong = await adminPool.query(
      `SELECT 1 FROM devices d JOIN device_state s ON s.device_id = d.id
        WHERE s.expected_interval_ms IS DISTINCT FROM expected_interval_of(d)`,
    );
    const heard = await adminPool.query("SELECT 1 FROM device_state WHERE expected_interval_ms IS NOT NULL");
    expect(wrong.rows).toEqual([]);
    expect(heard.rows.length).toBeGreaterThan(10);
    expect(await replicas[0]?.parts.fleet.counters.recount()).toBe(0);
  });

  it("is in force again soon after the clock was set back", async () => {
    await using devices = await startDevices();
    const { says, beat, presences, fleet } = partsOf(devices);
    const [daily, plain] = [await enrol(devices, "SN-1"), await enrol(devices, "SN-2")];
    await says(daily, day);
    await beat(daily, 1);
    devices.access.clock.advance(10 * heartbeatIntervalMs);
    await beat(plain, 1);
    expect(await presences()).toEqual([2, 0, 0]);
    later(devices, -3 * hour);
    // Nobody can have been heard at a time that is still to come.
    expect(await presences()).toEqual([0, 0, 2]);
    await fleet.tracker.tick();
    devices.access.clock.advance(11_000);
    await fleet.tracker.tick();
    expect(await presences()).toEqual([2, 0, 0]);
    // Who is not heard from then on is late and offline as ever.
    devices.access.clock.advance(4 * heartbeatIntervalMs + 10_000);
    await fleet.tracker.tick();
    expect(await presences()).toEqual([1, 0, 1]);
    devices.access.clock.advance(day);
    await fleet.tracker.tick();
    expect(await presences()).toEqual([1, 0, 1]);
  });
});
