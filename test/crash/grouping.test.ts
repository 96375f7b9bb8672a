import { describe, expect, it } from "vitest";
import { device } from "../heartbeat/heartbeat-fixture.ts";
import { type CrashReplica, crash, report, startCrashes } from "./crash-fixture.ts";

const byActor = { actor: "ada", reason: "one fault" };
const noConditions = { code: "", fault: "", frame: "", message: "" };

async function listed({ groups }: CrashReplica) {
  const rows = await groups.list({}, "first_seen_time", { limit: 100, after: undefined });
  return rows.map(({ group }) => group).toSorted((a, b) => (a.title < b.title ? -1 : 1));
}

async function groupOf(replica: CrashReplica, title: string) {
  const group = (await listed(replica)).find((each) => each.title.endsWith(title));
  if (group === undefined) throw new Error(`no group ${title}`);
  return group;
}

async function countsOf({ groups }: CrashReplica, id: string) {
  const { occurrenceCount, deviceCount } = await groups.get(id);
  const days = await groups.timeline(id, 30);
  const devices = await groups.devices(id, { limit: 100 });
  const occurrences = await groups.occurrences({ groupId: id }, { limit: 100 });
  return {
    occurrenceCount,
    deviceCount,
    byVersion: Object.fromEntries(days.map((day) => [day.firmwareVersion, day.occurrenceCount])),
    byDevice: devices.map((each) => each.occurrenceCount).toSorted((a, b) => a - b),
    occurrences: occurrences.length,
  };
}

/** Two faults, one of them on a device that has both. */
async function twoGroups() {
  const replica = await startCrashes();
  const [one, two] = [device(), device()];
  await report(replica, one, 1, [crash("read"), crash("read"), crash("write")]);
  await report(replica, two, 1, [crash("write")], { firmwareVersion: "1.1.0" });
  await replica.collector.collect();
  return {
    replica,
    one,
    two,
    read: (await groupOf(replica, "read")).id,
    write: (await groupOf(replica, "write")).id,
  };
}

describe("merged error groups", () => {
  it("count as one, and are what they were when they are split", async () => {
    const { replica, one, two, read, write } = await twoGroups();
    await using _ = replica;
    const before = [await countsOf(replica, read), await countsOf(replica, write)];

    await replica.merges.merge({ ...byActor, id: read, ids: [write] });
    expect((await listed(replica)).map(({ id }) => id)).toEqual([read]);
    expect(await countsOf(replica, read)).toEqual({
      occurrenceCount: 4,
      deviceCount: 2,
      byVersion: { "1.0.0": 3, "1.1.0": 1 },
      byDevice: [1, 3],
      occurrences: 4,
    });
    expect(await replica.groups.get(read)).toMatchObject({ lastSeenVersion: "1.1.0" });
    expect((await replica.groups.mergedInto(read, 10)).map(({ id }) => id)).toEqual([write]);

    await replica.merges.split({ ...byActor, id: write });
    expect([await countsOf(replica, read), await countsOf(replica, write)]).toEqual(before);

    // What came meanwhile was counted for both, and goes with its own.
    await replica.merges.merge({ ...byActor, id: read, ids: [write] });
    await report(replica, one, 2, [crash("write")]);
    await report(replica, two, 2, [crash("read")], { firmwareVersion: "1.1.0" });
    await replica.collector.collect();
    expect(await countsOf(replica, read)).toMatchObject({
      occurrenceCount: 6,
      deviceCount: 2,
      occurrences: 6,
    });
    await replica.merges.split({ ...byActor, id: write });
    expect(await countsOf(replica, read)).toMatchObject({
      occurrenceCount: 3,
      deviceCount: 2,
      byDevice: [1, 2],
    });
    expect(await countsOf(replica, write)).toMatchObject({
      occurrenceCount: 3,
      deviceCount: 2,
      byDevice: [1, 2],
    });
  });

  it("come along into a third, from which each can be split", async () => {
    const { replica, one, read, write } = await twoGroups();
    await using _ = replica;
    await report(replica, one, 2, [crash("poll")]);
    await replica.collector.collect();
    const poll = (await groupOf(replica, "poll")).id;
    await replica.merges.merge({ ...byActor, id: read, ids: [write] });
    await replica.merges.merge({ ...byActor, id: poll, ids: [read] });
    expect(await countsOf(replica, poll)).toMatchObject({
      occurrenceCount: 5,
      deviceCount: 2,
      occurrences: 5,
    });
    await replica.merges.split({ ...byActor, id: read });
    expect(await countsOf(replica, read)).toMatchObject({ occurrenceCount: 2, deviceCount: 1 });
    expect(await countsOf(replica, poll)).toMatchObject({ occurrenceCount: 3, deviceCount: 2 });
  });

  it("are refused what they cannot do", async () => {
    const { replica, read, write } = await twoGroups();
    await using _ = replica;
    const { merges, groups } = replica;
    await expect(merges.merge({ ...byActor, id: read, ids: [read] })).rejects.toMatchObject({
      code: "invalid_argument",
    });
    await expect(merges.split({ ...byActor, id: read })).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
    });
    await merges.merge({ ...byActor, id: read, ids: [write] });
    await merges.merge({ ...byActor, id: read, ids: [write] });
    await expect(merges.merge({ ...byActor, id: write, ids: [read] })).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
    });
    const resolve = groups.decide({ ...byActor, id: write, state: "resolved", resolvedVersion: "" });
    await expect(resolve).rejects.toMatchObject({ reason: "ILLEGAL_TRANSITION" });
    expect(await countsOf(replica, read)).toMatchObject({ occurrenceCount: 4 });
  });

  it("reopen as one: the group that stands for all", async () => {
    const { replica, two, read, write } = await twoGroups();
    await using _ = replica;
    await replica.merges.merge({ ...byActor, id: read, ids: [write] });
    await replica.groups.decide({ ...byActor, id: read, state: "resolved", resolvedVersion: "1.1.0" });
    await report(replica, two, 2, [crash("write")], { firmwareVersion: "1.2.0" });
    await replica.collector.collect();
    expect(await replica.groups.get(read)).toMatchObject({ state: "open", lastSeenVersion: "1.2.0" });
  });
});

describe("what decides beside the stack", () => {
  it("a group says by what it is one", async () => {
    const { replica, read } = await twoGroups();
    await using _ = replica;
    expect((await replica.groups.get(read)).groupedBy).toBe("stack (native), in read, called by main");
  });

  it("the device's own fingerprint", async () => {
    await using replica = await startCrashes();
    const own = { fingerprint: "sensor-bus-stuck" };
    await report(replica, device(), 1, [crash("read", own), crash("write", own), crash("read")]);
    await replica.collector.collect();
    const groups = await listed(replica);
    expect(groups).toHaveLength(2);
    expect(groups.find(({ occurrenceCount }) => occurrenceCount === 2)).toMatchObject({
      groupedBy: "the device's own fingerprint: sensor-bus-stuck",
    });
    expect(groups.find(({ occurrenceCount }) => occurrenceCount === 1)).toMatchObject({
      groupedBy: "stack (native), in read, called by main",
    });
  });

  it("rules of operators, the first that holds", async () => {
    await using replica = await startCrashes();
    const { rules } = replica;
    const bus = await rules.create({
      actor: "ada",
      title: "The bus",
      fingerprint: "",
      ...noConditions,
      frame: "read*",
      message: "*fault*",
    });
    await rules.create({
      actor: "ada",
      title: "All else",
      fingerprint: "else",
      ...noConditions,
      code: "SIG*",
    });
    await rules.create({ actor: "ada", title: "The rest", fingerprint: "else", ...noConditions, code: "*" });
    await report(replica, device(), 1, [
      crash("read_a"),
      crash("read_b"),
      crash("write"),
      crash("write", { code: "X" }),
    ]);
    await replica.collector.collect();
    expect(
      (await listed(replica)).map(({ title, occurrenceCount, groupedBy }) => [
        title,
        occurrenceCount,
        groupedBy,
      ]),
    ).toEqual([
      ["All else", 2, "rule “All else”: code SIG*"],
      ["The bus", 2, "rule “The bus”: frame read*, message *fault*"],
    ]);
    expect((await rules.list()).map(({ title }) => title)).toEqual(["The bus", "All else", "The rest"]);

    await rules.delete(bus.id, "ada", "mended");
    await expect(rules.delete(bus.id, "ada", "")).rejects.toMatchObject({ code: "not_found" });
    await report(replica, device(), 1, [crash("read_a")]);
    await replica.collector.collect();
    expect((await groupOf(replica, "All else")).occurrenceCount).toBe(3);
    expect((await groupOf(replica, "The bus")).occurrenceCount).toBe(2);
  });

  it("at most 200 rules", async () => {
    await using replica = await startCrashes();
    for (let index = 0; index < 200; index++) {
      await replica.rules.create({
        actor: "ada",
        title: `${index}`,
        fingerprint: "",
        ...noConditions,
        code: "A",
      });
    }
    const more = replica.rules.create({
      actor: "ada",
      title: "more",
      fingerprint: "",
      ...noConditions,
      code: "A",
    });
    await expect(more).rejects.toMatchObject({ code: "resource_exhausted" });
  });
});
