import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { DeviceDirectory } from "../../src/device/state/device-directory.ts";
import { StateWriter } from "../../src/device/state/state-writer.ts";
import { migrateUp } from "../../src/infra/database/migrate.ts";
import { Pool } from "../../src/infra/database/pool.ts";
import { silent } from "../access/access-fixture.ts";
import { eventually } from "../support/eventually.ts";
import { DedicatedPostgres } from "../support/postgres.ts";
import {
  type DeviceReplica,
  enrolmentKey,
  enrolmentOf,
  heartbeatOf,
  joinDevices,
  startDevices,
} from "./device-fixture.ts";

async function enrolled(devices: DeviceReplica, count: number): Promise<string[]> {
  const key = await enrolmentKey(devices);
  const ids: string[] = [];
  for (let n = 0; n < count; n++) {
    ids.push((await devices.enrolment.enrol(enrolmentOf(key, `SN-${n}`))).deviceId);
  }
  return ids;
}

async function stored({ access }: DeviceReplica, deviceId: string) {
  const { rows } = await access.database.adminPool.query(
    "SELECT epoch, last_sequence::int AS sequence, firmware_version, security_counter::int AS counter FROM device_state WHERE device_id = $1",
    [deviceId],
  );
  return rows[0] as
    | { epoch: number; sequence: number; firmware_version: string; counter: number }
    | undefined;
}

describe("DeviceDirectory", () => {
  it("reads what it does not know together, then answers at once", async () => {
    await using devices = await startDevices();
    const ids = await enrolled(devices, 3);
    let queries = 0;
    const { adminPool } = devices.access.database;
    const counting = new Proxy(adminPool, {
      get: (pool, name) => {
        if (name === "query") queries++;
        return Reflect.get(pool, name, pool) as unknown;
      },
    });
    const { changes, states } = devices;
    const { clock } = devices.access;
    const directory = new DeviceDirectory({
      database: { pool: new Pool(counting) },
      changes,
      states,
      clock,
      logger: silent,
    });
    const loaded = await Promise.all([...ids, ...ids].map(async (id) => await directory.get(id)));
    expect(queries).toBe(1);
    expect(loaded.map((device) => device.id)).toEqual([...ids, ...ids]);
    expect(directory.get(ids[0] ?? "")).toBe(loaded[0]);
    expect(loaded[0]).toMatchObject({
      deviceType: "thermostat",
      hardwareModel: "tx-200",
      groups: [],
      retired: false,
      firmwareVersion: "1.0.0",
      bootId: "",
      lastSeenAtMs: undefined,
    });
    await expect((async () => directory.get(randomUUID()))()).rejects.toMatchObject({ code: "not_found" });
  });

  it("follows the heartbeats, forward only, and never lowers the security counter", async () => {
    await using devices = await startDevices();
    const [id = ""] = await enrolled(devices, 1);
    const device = await devices.directory.get(id);
    devices.directory.observe([
      heartbeatOf(id, 2, { firmwareVersion: "1.1.0", batteryPercent: 50, securityCounter: 4 }),
      heartbeatOf(id, 1, { firmwareVersion: "1.0.0", batteryPercent: 99 }),
      heartbeatOf(id, 2, { firmwareVersion: "0.0.1" }),
    ]);
    expect(device).toMatchObject({ firmwareVersion: "1.1.0", batteryPercent: 50, securityCounter: 4 });
    devices.directory.observe([heartbeatOf(id, 1, { epoch: 2, firmwareVersion: "1.0.0" })]);
    expect(device).toMatchObject({ firmwareVersion: "1.0.0", batteryPercent: undefined, securityCounter: 4 });
    await devices.states.flush();
    expect(await stored(devices, id)).toEqual({
      epoch: 2,
      sequence: 1,
      firmware_version: "1.0.0",
      counter: 4,
    });
  });

  it("does not lose heartbeats that come while a device is read or before it is known", async () => {
    await using devices = await startDevices();
    const [before = "", during = ""] = await enrolled(devices, 2);
    devices.directory.observe([heartbeatOf(before, 5, { firmwareVersion: "1.5.0" })]);
    expect(await devices.directory.get(before)).toMatchObject({ firmwareVersion: "1.5.0" });
    const reading = devices.directory.get(during);
    devices.directory.observe([heartbeatOf(during, 6, { firmwareVersion: "1.6.0" })]);
    expect(await reading).toMatchObject({ firmwareVersion: "1.6.0" });
  });

  it("keeps the heartbeats when a device's record is read again", async () => {
    await using devices = await startDevices();
    const [id = ""] = await enrolled(devices, 1);
    await devices.directory.get(id);
    devices.directory.observe([heartbeatOf(id, 3, { firmwareVersion: "1.3.0" })]);
    devices.directory.reload(id);
    expect(devices.directory.peek(id)).toBeUndefined();
    expect(await devices.directory.get(id)).toMatchObject({ firmwareVersion: "1.3.0" });
  });

  it("reads a device again in the background when its copy is old", async () => {
    await using devices = await startDevices();
    const [id = ""] = await enrolled(devices, 1);
    await devices.directory.get(id);
    await devices.access.database.adminPool.query("UPDATE devices SET groups = '{beta}' WHERE id = $1", [id]);
    devices.access.clock.advance(299_000);
    expect(devices.directory.get(id)).toMatchObject({ groups: [] });
    devices.access.clock.advance(2_000);
    expect(devices.directory.get(id)).toMatchObject({ groups: [] });
    await eventually(() => expect(devices.directory.get(id)).toMatchObject({ groups: ["beta"] }));
  });

  it("remembers no more devices than it may", async () => {
    await using devices = await startDevices();
    const ids = await enrolled(devices, 3);
    const { changes, states } = devices;
    const { database, clock } = devices.access;
    const small = new DeviceDirectory({ database, changes, states, clock, logger: silent, maxDevices: 2 });
    await Promise.all(ids.map(async (id) => await small.get(id)));
    expect(small.size).toBe(2);
  });
});

describe("StateWriter", () => {
  it("writes by itself, one row for many heartbeats of a device", async () => {
    await using devices = await startDevices();
    const [id = ""] = await enrolled(devices, 1);
    devices.directory.observe(Array.from({ length: 50 }, (_, n) => heartbeatOf(id, n + 1)));
    expect(devices.states.size).toBe(1);
    await eventually(async () => expect(await stored(devices, id)).toMatchObject({ sequence: 50 }));
  });

  it("never overwrites what another replica wrote of a later heartbeat", async () => {
    await using here = await startDevices();
    await using there = await joinDevices(here.access.url);
    const [id = ""] = await enrolled(here, 1);
    here.directory.observe([heartbeatOf(id, 9, { securityCounter: 7 })]);
    there.directory.observe([heartbeatOf(id, 8, { securityCounter: 9 })]);
    await here.states.flush();
    await there.states.flush();
    expect(await stored(here, id)).toMatchObject({ sequence: 9, counter: 7 });
    there.directory.observe([heartbeatOf(id, 10, { securityCounter: 1 })]);
    await there.states.flush();
    expect(await stored(here, id)).toMatchObject({ sequence: 10, counter: 7 });
  });

  it("writes what waits when it closes", async () => {
    const devices = await startDevices();
    const [id = ""] = await enrolled(devices, 1);
    const writer = new StateWriter({
      ...devices.access,
      logger: silent,
      flushIntervalMs: 3_600_000,
    });
    writer.add(heartbeatOf(id, 4));
    await writer.close();
    expect(await stored(devices, id)).toMatchObject({ sequence: 4 });
    await devices[Symbol.asyncDispose]();
  });

  it("drops a row that cannot be stored and writes all others", async () => {
    await using devices = await startDevices();
    const ids = await enrolled(devices, 5);
    devices.directory.observe([
      heartbeatOf(ids[0] ?? "", 1),
      heartbeatOf(ids[1] ?? "", 1, { carrier: "nul\u0000" }),
      heartbeatOf(ids[2] ?? "", 1),
      heartbeatOf(randomUUID(), 1),
      heartbeatOf(ids[3] ?? "", 1),
    ]);
    await devices.states.flush();
    const found = await Promise.all(ids.map((id) => stored(devices, id)));
    expect(found.map((row) => row?.sequence)).toEqual([1, undefined, 1, 1, undefined]);
    expect(devices.states.size).toBe(0);
  });

  it("keeps the newest reading of each device while the database is away", async () => {
    await using server = await DedicatedPostgres.start();
    await migrateUp(server.url);
    await using devices = await joinDevices(server.url);
    const [id = "", other = ""] = await enrolled(devices, 2);
    await server.stop();
    devices.directory.observe([heartbeatOf(id, 1), heartbeatOf(other, 1)]);
    await devices.states.flush();
    devices.directory.observe([heartbeatOf(id, 2, { firmwareVersion: "2.0.0" })]);
    await devices.states.flush();
    expect(devices.states.size).toBe(2);
    await server.startAgain();
    await eventually(async () => {
      expect(await stored(devices, id)).toMatchObject({ sequence: 2, firmware_version: "2.0.0" });
      expect(await stored(devices, other)).toMatchObject({ sequence: 1 });
    });
    expect(devices.states.size).toBe(0);
  });

  it("lets no more devices wait than it may", async () => {
    await using devices = await startDevices();
    const ids = await enrolled(devices, 3);
    const { database, clock } = devices.access;
    const writer = new StateWriter({
      database,
      clock,
      logger: silent,
      flushIntervalMs: 3_600_000,
      maxWaiting: 2,
    });
    for (const id of ids) writer.add(heartbeatOf(id, 1));
    writer.add(heartbeatOf(ids[0] ?? "", 2));
    expect(writer.size).toBe(2);
    expect(writer.unwritten(ids[0] ?? "")?.sequence).toBe(2);
    await writer.close();
  });
});
