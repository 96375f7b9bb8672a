import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { AuditLog } from "../../src/access/audit-log.ts";
import { maxKeptPerHour } from "../../src/crash/error-tally.ts";
import { device } from "../heartbeat/heartbeat-fixture.ts";
import { eventually } from "../support/eventually.ts";
import { type CrashReplica, crash, report, startCrashes } from "./crash-fixture.ts";

const all = { limit: 100, after: undefined };

async function listed({ groups }: CrashReplica) {
  return (await groups.list({}, "last_seen_time", all)).map(({ group }) => group);
}

function byFirst([a]: readonly [string, ...unknown[]], [b]: readonly [string, ...unknown[]]): number {
  return a < b ? -1 : 1;
}

describe("the collector of errors", () => {
  it("counts each error of each stored heartbeat once, also when the device sends it again", async () => {
    await using replica = await startCrashes();
    const [one, two] = [device(), device()];
    await report(replica, one, 1, [crash(), crash("write_log")]);
    await report(replica, one, 1, [crash(), crash("write_log")]);
    await report(replica, two, 1, [crash()], { firmwareVersion: "1.1.0" });
    await report(replica, two, 2, []);
    expect(await replica.collector.collect()).toBe(2);
    expect(await replica.collector.collect()).toBe(0);

    const groups = await listed(replica);
    expect(
      groups
        .map(({ title, occurrenceCount, deviceCount }) => [title, occurrenceCount, deviceCount] as const)
        .toSorted(byFirst),
    ).toEqual([
      ["SIGSEGV in read_sensor", 2, 2],
      ["SIGSEGV in write_log", 1, 1],
    ]);
    const read = groups.find(({ title }) => title.endsWith("read_sensor"));
    expect(read).toMatchObject({
      state: "open",
      code: "SIGSEGV",
      severity: "CRITICAL",
      fatal: true,
      stackKind: "native",
      firstSeenVersion: "1.0.0",
      lastSeenVersion: "1.1.0",
    });
    expect(await replica.groups.timeline(read?.id ?? "", 30)).toMatchObject([
      { firmwareVersion: "1.0.0", occurrenceCount: 1 },
      { firmwareVersion: "1.1.0", occurrenceCount: 1 },
    ]);
    const devices = await replica.groups.devices(read?.id ?? "", { limit: 10 });
    expect(devices.map(({ deviceId }) => deviceId).toSorted()).toEqual([one, two].toSorted());
  });

  it("counts all others when the errors of one heartbeat cannot be counted", async () => {
    await using replica = await startCrashes();
    const ids = Array.from({ length: 9 }, device);
    for (const id of ids) await report(replica, id, 1, [crash()]);
    // As a service with other rules might have stored it.
    await replica.database.adminPool.query(
      `UPDATE device_heartbeats SET errors = '[null]' WHERE device_id = ANY($1::uuid[])`,
      [[ids[0], ids[4], ids[8]]],
    );
    expect(await replica.collector.collect()).toBe(9);
    expect(await listed(replica)).toMatchObject([{ occurrenceCount: 6, deviceCount: 6 }]);
    expect(await replica.collector.collect()).toBe(0);
  });

  it("keeps the occurrence as the device sent it", async () => {
    await using replica = await startCrashes();
    const id = device();
    const sent = crash("read_sensor", { message: "why? 'quoted' \\ $1 ü", context: { task: "control?" } });
    await report(replica, id, 7, [crash("write_log"), sent], { bootId: "boot-9" });
    await replica.collector.collect();
    const [occurrence] = (await replica.groups.occurrences({ deviceId: id }, { limit: 10 })).filter(
      ({ report: { message } }) => message.startsWith("why"),
    );
    expect(occurrence).toMatchObject({
      deviceId: id,
      report: sent,
      firmwareVersion: "1.0.0",
      bootId: "boot-9",
    });
  });

  it("counts for the version that ran, whenever the device tells it", async () => {
    await using replica = await startCrashes();
    const id = device();
    await report(replica, id, 1, [crash()], { firmwareVersion: "2.0.0" });
    await report(replica, device(), 1, [crash()], { firmwareVersion: "1.0.0-rc.1" });
    await replica.collector.collect();
    const [group] = await listed(replica);
    expect(group).toMatchObject({ firstSeenVersion: "2.0.0", lastSeenVersion: "2.0.0", occurrenceCount: 2 });
    expect((await replica.groups.list({ firmwareVersion: "1.0.0-rc.1" }, "device_count", all)).length).toBe(
      1,
    );
    expect((await replica.groups.list({ firmwareVersion: "3.0.0" }, "device_count", all)).length).toBe(0);
    expect(await replica.groups.newGroupsOf("2.0.0", new Date(Date.now() - 60_000), 5)).toHaveLength(1);
    expect(await replica.groups.newGroupsOf("v2.0.0+b.1", new Date(Date.now() - 60_000), 5)).toHaveLength(1);
    for (const [firmwareVersion, count] of [
      ["2.0.0", 1],
      ["v2.0.0+b.1", 1],
      ["2.0.1", 0],
    ] as const) {
      const found = await replica.groups.list({ firmwareVersion }, "last_seen_time", { limit: 5 });
      expect(found, firmwareVersion).toHaveLength(count);
    }
    expect(await replica.groups.newGroupsOf("1.0.0-rc.1", new Date(Date.now() - 60_000), 5)).toHaveLength(0);
  });

  it("keeps few occurrences of a crash loop, but counts all", async () => {
    await using replica = await startCrashes();
    const id = device();
    const loop = maxKeptPerHour + 5;
    for (let sequence = 1; sequence <= loop; sequence++) await report(replica, id, sequence, [crash()]);
    await replica.collector.collect();
    const [group] = await listed(replica);
    expect(group?.occurrenceCount).toBe(loop);
    const kept = await replica.groups.occurrences({ groupId: group?.id }, { limit: 100 });
    // The loop may cross the turn of an hour.
    expect(kept.length).toBeGreaterThanOrEqual(maxKeptPerHour);
    expect(kept.length).toBeLessThanOrEqual(loop);
    expect(kept.length === maxKeptPerHour || new Date().getMinutes() === 0).toBe(true);
  });

  it("counts exactly once with several replicas and when one is cut off in the middle", async () => {
    await using first = await startCrashes();
    await using second = await startCrashes({ url: first.url });
    const devices = Array.from({ length: 20 }, device);
    const rounds = 10;
    let killed = 0;
    for (let sequence = 1; sequence <= rounds; sequence++) {
      const killing = first.ingested.pool.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'device-ota orm'`,
      );
      // Heartbeats of this round and the one before are being counted while the connections are cut.
      const counting = Promise.allSettled([first.collector.collect(), second.collector.collect()]);
      await Promise.all(
        devices.map((id, index) => report(index % 2 === 0 ? first : second, id, sequence, [crash()])),
      );
      await counting;
      killed += (await killing).rows.length;
    }
    // The pool may hold connections that were cut and not missed yet.
    await eventually(() => first.collector.collect());
    const [group] = await eventually(() => listed(first));
    expect(group).toMatchObject({ occurrenceCount: devices.length * rounds, deviceCount: devices.length });
    const [counted] = (
      await first.ingested.pool.query(
        "SELECT sum(occurrence_count)::int AS counts, (SELECT sum(occurrence_count)::int FROM error_group_devices) AS devices FROM error_counts",
      )
    ).rows;
    expect(counted).toEqual({ counts: devices.length * rounds, devices: devices.length * rounds });
    expect(killed).toBeGreaterThan(0);
  });

  it("reopens a resolved group when a newer version shows it, and only then", async () => {
    await using replica = await startCrashes();
    await report(replica, device(), 1, [crash()], { firmwareVersion: "1.2.0" });
    await replica.collector.collect();
    const [group] = await listed(replica);
    const id = group?.id ?? "";
    const resolved = await replica.groups.decide({
      actor: "operator:eve",
      id,
      state: "resolved",
      resolvedVersion: "",
      reason: "fixed",
    });
    expect(resolved).toMatchObject({
      state: "resolved",
      resolvedVersion: "1.2.0",
      stateReason: "operator:eve: fixed",
    });

    await report(replica, device(), 1, [crash()], { firmwareVersion: "1.2.0" });
    await report(replica, device(), 1, [crash()], { firmwareVersion: "1.1.0" });
    await replica.collector.collect();
    expect(await replica.groups.get(id)).toMatchObject({ state: "resolved", occurrenceCount: 3 });

    await report(replica, device(), 1, [crash()], { firmwareVersion: "1.3.0" });
    await replica.collector.collect();
    const reopened = await replica.groups.get(id);
    expect(reopened).toMatchObject({ state: "open", resolvedVersion: "", lastSeenVersion: "1.3.0" });
    expect(reopened.regressedAt).toBeInstanceOf(Date);
    const events = await new AuditLog(replica).list({ resourceId: id }, { limit: 10 });
    expect(events.map(({ actor, action }) => [actor, action])).toEqual([
      ["system:regression", "error_group.reopen"],
      ["operator:eve", "error_group.resolve"],
    ]);

    await replica.groups.decide({
      actor: "operator:eve",
      id,
      state: "ignored",
      resolvedVersion: "",
      reason: "",
    });
    await report(replica, device(), 1, [crash()], { firmwareVersion: "9.0.0" });
    await replica.collector.collect();
    expect(await replica.groups.get(id)).toMatchObject({ state: "ignored", occurrenceCount: 5 });
  });

  it("puts what would be too many groups into one", async () => {
    await using replica = await startCrashes({ collector: { maxGroups: 3 } });
    const id = device();
    const codes = ["A", "B", "C", "D", "E"].map((code) => crash("f", { code }));
    await report(replica, id, 1, codes);
    await replica.collector.collect();
    await report(replica, id, 2, codes);
    await replica.collector.collect();
    const groups = await listed(replica);
    expect(
      groups.map(({ code, occurrenceCount }) => [code, occurrenceCount] as const).toSorted(byFirst),
    ).toEqual([
      ["A", 2],
      ["B", 2],
      ["C", 2],
      ["OTHER", 4],
    ]);
  });

  it("drops occurrences and counts past what is kept", async () => {
    await using replica = await startCrashes();
    await report(replica, device(), 1, [crash()]);
    await replica.collector.collect();
    await replica.collector.purge();
    expect(await listed(replica)).toHaveLength(1);
    replica.clock.advance(40 * 24 * 3_600_000);
    await replica.collector.purge();
    const partitions = await replica.ingested.pool.query(
      "SELECT 1 FROM pg_inherits WHERE inhparent = 'error_occurrences'::regclass",
    );
    expect(partitions.rows).toHaveLength(0);
    const [group] = await listed(replica);
    expect(group?.occurrenceCount).toBe(1);
    replica.clock.advance(401 * 24 * 3_600_000);
    await replica.collector.purge();
    expect(await listed(replica)).toHaveLength(0);
  });

  it("pages through groups in every order", async () => {
    await using replica = await startCrashes();
    for (let index = 0; index < 7; index++) {
      const id = device();
      const errors = Array.from({ length: index + 1 }, () => crash("f", { code: `E_${index}` }));
      await report(replica, id, 1, errors);
      await replica.collector.collect();
    }
    const firsts: unknown[] = [];
    for (const order of ["last_seen_time", "first_seen_time", "occurrence_count", "device_count"] as const) {
      const seen: string[] = [];
      let after: readonly string[] | undefined;
      do {
        const page = await replica.groups.list({}, order, { limit: 3, after });
        seen.push(...page.map(({ group }) => group.code));
        after = page.length === 3 ? page.at(-1)?.key : undefined;
      } while (after !== undefined);
      expect(seen.toSorted()).toEqual(Array.from({ length: 7 }, (_, index) => `E_${index}`));
      if (order !== "device_count") firsts.push(seen[0]);
    }
    expect(firsts).toEqual(["E_6", "E_6", "E_6"]);
    expect(await replica.groups.list({ text: "e_3" }, "last_seen_time", all)).toHaveLength(1);
    expect(await replica.groups.list({ states: ["resolved"] }, "last_seen_time", all)).toHaveLength(0);
    expect(
      await replica.groups.list({ fatalOnly: true, seenSince: new Date(0) }, "device_count", all),
    ).toHaveLength(7);
    await expect(replica.groups.get(randomUUID())).rejects.toMatchObject({ reason: "NOT_FOUND" });
  });
});
