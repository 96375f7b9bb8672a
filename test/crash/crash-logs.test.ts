import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CrashLogs } from "../../src/crash/crash-logs.ts";
import type { OtaError } from "../../src/errors.ts";
import { sql } from "../../src/infra/database/sql.ts";
import { LocalObjectStore } from "../../src/infra/objects/local-object-store.ts";
import type { ObjectStore } from "../../src/infra/objects/object-store.ts";
import { device, silent } from "../heartbeat/heartbeat-fixture.ts";
import { type CrashReplica, crash, report, startCrashes } from "./crash-fixture.ts";

const hourMs = 3_600_000;
const { signal } = new AbortController();

async function startLogs(
  replica: CrashReplica,
  { retentionDays = 30, changed }: { retentionDays?: number; changed?: Partial<ObjectStore> } = {},
) {
  const folder = await mkdtemp(join(tmpdir(), "crash-logs-"));
  const store = new LocalObjectStore(folder, replica.clock);
  const used: ObjectStore = {
    put: (...each) => store.put(...each),
    read: (...each) => store.read(...each),
    delete: (each) => store.delete(each),
    ...changed,
  } as ObjectStore;
  const logs = new CrashLogs({
    database: replica.database,
    store: used,
    clock: replica.clock,
    logger: silent,
    retentionDays,
    logQuota: { logs: 3, periodMs: hourMs },
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
    await using fixture = await startLogs(replica, { retentionDays: 0 });
    const id = device();
    const log = await fixture.logs.receive(id, one("text"), signal);
    await report(replica, id, 1, [crash("read_sensor", { crashLogId: log.id })]);
    await replica.collector.collect();
    replica.clock.advance(1_000 * 24 * hourMs);
    expect(await fixture.logs.removeOld()).toBe(0);
  });

  it("leave nothing behind if their replica died while it stored them", async () => {
    await using replica = await startCrashes();
    const dead = () => Promise.reject(new Error("dead"));
    await using fixture = await startLogs(replica, { changed: { put: dead, delete: dead } });
    const id = device();
    for (let each = 0; each < 3; each++)
      await expect(fixture.logs.receive(id, one("text"), signal)).rejects.toThrow("dead");
    await using next = await startLogs(replica);
    // They may still be on their way somewhere; after a while nobody believes that any more.
    await expect(next.logs.receive(id, one("text"), signal)).rejects.toMatchObject({
      reason: "RATE_LIMITED",
    });
    replica.clock.advance(5 * 60_000);
    await next.logs.receive(id, one("text"), signal);
    replica.clock.advance(25 * hourMs);
    expect(await next.logs.removeOld()).toBe(4);
    expect(await next.objects()).toBe(0);
  });
});

describe("a crash log that breaks off", () => {
  async function* broken(controller: AbortController) {
    yield Buffer.from("the beginning");
    controller.abort(new Error("gone"));
  }

  it("is no log and counts for nothing, wherever it breaks", async () => {
    await using replica = await startCrashes();
    const whileStored = new AbortController();
    let puts = 0;
    await using fixture = await startLogs(replica, {
      changed: {
        put: async () => {
          puts++;
          whileStored.abort(new Error("gone"));
          throw whileStored.signal.reason;
        },
      },
    });
    const id = device();
    const onTheWay = new AbortController();
    await expect(fixture.logs.receive(id, broken(onTheWay), onTheWay.signal)).rejects.toThrow("gone");
    expect(puts).toBe(0);
    await expect(fixture.logs.receive(id, one("text"), whileStored.signal)).rejects.toThrow("gone");
    expect(puts).toBe(1);
    expect(await replica.database.pool.query(sql`SELECT id FROM crash_logs`)).toEqual([]);
    expect(await fixture.objects()).toBe(0);
  });
});

describe("the quota of a device", () => {
  it("holds to the letter for logs that come at once, and for that device alone", async () => {
    await using replica = await startCrashes();
    await using fixture = await startLogs(replica);
    const id = device();
    const results = await Promise.allSettled(
      Array.from({ length: 12 }, () => fixture.logs.receive(id, one("text"), signal)),
    );
    const refused = results.filter(({ status }) => status === "rejected");
    expect(refused).toHaveLength(9);
    for (const each of refused) expect(each).toMatchObject({ reason: { reason: "RATE_LIMITED" } });
    await fixture.logs.receive(device(), one("text"), signal);
    const late = await fixture.logs
      .receive(id, one("text"), signal)
      .catch((error: unknown) => error as OtaError);
    expect(late).toMatchObject({ retryAfterMs: hourMs });
    replica.clock.advance(hourMs);
    await fixture.logs.receive(id, one("text"), signal);
  });
});
