import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CloneWatch, type CloneWatchParts } from "../../src/device/registry/clone-watch.ts";
import { sql } from "../../src/infra/database/sql.ts";
import { Metrics } from "../../src/infra/metrics.ts";
import { silent } from "../access/access-fixture.ts";
import { type DeviceReplica, enrolmentKey, enrolmentOf, startDevices } from "./device-fixture.ts";

let replica: DeviceReplica;
let key: string;
beforeAll(async () => {
  replica = await startDevices();
  key = await enrolmentKey(replica);
});
afterAll(() => replica[Symbol.asyncDispose]());

function watchOf(other: Partial<CloneWatchParts> = {}): CloneWatch {
  const { access, changes } = replica;
  const { database, audit, clock } = access;
  const metrics = new Metrics({ processMetrics: false }).devices;
  const rules = { returns: 2, windowMs: 86_400_000, quarantine: false };
  return new CloneWatch({ database, audit, changes, metrics, clock, logger: silent, rules, ...other });
}

async function enrol(): Promise<string> {
  return (await replica.enrolment.enrol(enrolmentOf(key, `S ${randomUUID()}`))).deviceId;
}

function hear(watch: CloneWatch, deviceId: string, bootId: string): void {
  const atMs = replica.access.clock.now().getTime();
  watch.sighted({ deviceId, bootId, atMs, startedAtMs: undefined, beginsStream: true });
}

/** Two boots in turns, often enough. */
async function hearTwo(watch: CloneWatch, deviceId: string): Promise<void> {
  for (const boot of ["one", "two", "one", "two"]) hear(watch, deviceId, boot);
  await watch.flush();
}

async function suspected(ids: readonly string[]): Promise<string[]> {
  const rows = await replica.access.database.pool.query<{ id: string }>(
    sql`SELECT id FROM devices WHERE id = ANY($1::uuid[]) AND clone_suspected_at IS NOT NULL`,
    [ids],
  );
  return rows.map(({ id }) => id);
}

describe("the watch for clones", () => {
  it("locks nothing for a device that is heard under the same boot again", async () => {
    await using watch = watchOf();
    const device = await enrol();
    hear(watch, device, "one");
    await watch.flush();
    await replica.access.database.transact(async (_, session) => {
      await session.query(sql`SELECT FROM device_boots WHERE device_id = $1 FOR UPDATE`, [device]);
      hear(watch, device, "one");
      await watch.flush();
      expect(watch.writer.log).toMatchObject({ rows: { written: 2, lost: 0 } });
    });
  });

  it("marks a device later that it could not mark when it had seen two", async () => {
    const { database } = replica.access;
    let fails = true;
    const transact: typeof database.transact = (...work) =>
      fails ? Promise.reject(new Error("no connection is free")) : database.transact(...work);
    await using watch = watchOf({ database: { pool: database.pool, transact } });
    const [copied, other] = [await enrol(), await enrol()];
    await hearTwo(watch, copied);
    expect(await suspected([copied, other])).toEqual([]);
    fails = false;
    hear(watch, other, "one");
    await watch.flush();
    expect(await suspected([copied, other])).toEqual([copied]);
  });
});
