import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CrashLogs } from "../../src/crash/crash-logs.ts";
import { LocalObjectStore } from "../../src/infra/objects/local-object-store.ts";
import { device, silent } from "../heartbeat/heartbeat-fixture.ts";
import { type CrashReplica, crash, report, startCrashes } from "./crash-fixture.ts";

const hourMs = 3_600_000;
const { signal } = new AbortController();

async function startLogs(replica: CrashReplica, retentionDays = 30) {
  const folder = await mkdtemp(join(tmpdir(), "crash-logs-"));
  const store = new LocalObjectStore(folder, replica.clock);
  const logs = new CrashLogs({
    database: replica.database,
    store,
    clock: replica.clock,
    logger: silent,
    retentionDays,
  });
  return {
    logs,
    objects: async () =>
      (await readdir(folder, { recursive: true })).filter((name) => /[0-9a-f]{64}$/.test(name)).length,
    async [Symbol.asyncDispose]() {
      await store.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function* one(text: string) {
  yield Buffer.from(text);
}

describe("old crash logs", () => {
  it("go with their objects if nobody named them within a day, however often the text was sent", async () => {
    await using replica = await startCrashes();
    await using fixture = await startLogs(replica);
    const id = device();
    const named = await fixture.logs.receive(id, one("the same text"), signal);
    const unnamed = await fixture.logs.receive(id, one("the same text"), signal);
    expect(await fixture.objects()).toBe(2);
    await report(replica, id, 1, [crash("read_sensor", { crashLogId: named.id })]);
    await replica.collector.collect();

    replica.clock.advance(23 * hourMs);
    expect(await fixture.logs.removeOld()).toBe(0);
    replica.clock.advance(2 * hourMs);
    expect(await fixture.logs.removeOld()).toBe(1);
    await expect(fixture.logs.read(unnamed.id, signal)).rejects.toMatchObject({ reason: "NOT_FOUND" });
    expect((await fixture.logs.read(named.id, signal)).toString()).toBe("the same text");
    expect(await fixture.objects()).toBe(1);

    replica.clock.advance(31 * 24 * hourMs);
    expect(await fixture.logs.removeOld()).toBe(1);
    expect(await fixture.objects()).toBe(0);
  });

  it("stay for ever if heartbeats do", async () => {
    await using replica = await startCrashes();
    await using fixture = await startLogs(replica, 0);
    const id = device();
    const log = await fixture.logs.receive(id, one("text"), signal);
    await report(replica, id, 1, [crash("read_sensor", { crashLogId: log.id })]);
    await replica.collector.collect();
    replica.clock.advance(1_000 * 24 * hourMs);
    expect(await fixture.logs.removeOld()).toBe(0);
  });

  it("leave nothing behind if their upload broke off", async () => {
    await using replica = await startCrashes();
    await using fixture = await startLogs(replica);
    const aborted = AbortSignal.abort(new Error("gone"));
    await expect(fixture.logs.store(device(), Buffer.from("text"), aborted)).rejects.toThrow();
    replica.clock.advance(25 * hourMs);
    expect(await fixture.logs.removeOld()).toBe(1);
    expect(await fixture.objects()).toBe(0);
  });
});
