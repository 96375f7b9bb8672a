import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, it } from "vitest";
import { sessionOn } from "../../src/infra/database/session.ts";
import type { DeviceUpdateState, UpdateAction } from "../../src/rollout/model/device-update.entity.ts";
import { isFinalUpdate, isTaken } from "../../src/rollout/model/device-update-state.ts";
import type { RingCounters } from "../../src/rollout/model/rollout-counters.ts";
import { readRollouts } from "../../src/rollout/model/rollout-rows.ts";
import { createTestDatabase } from "../support/postgres.ts";

/** What a row counts for in its ring, beside `offered`. */
type Counted = Exclude<keyof RingCounters, "offered" | "began" | "missing" | "drifted">;

/** Each kind of update with what it counts for: what the triggers must do, written by hand. */
const cases: readonly [state: DeviceUpdateState, counted: Counted, began: 0 | 1][] = [
  ["OFFERED", "inProgress", 0],
  ["DOWNLOADING", "inProgress", 0],
  ["DOWNLOADED", "inProgress", 0],
  ["INSTALLING", "inProgress", 1],
  ["REBOOTING", "inProgress", 1],
  ["VERIFYING", "inProgress", 1],
  ["SUCCEEDED", "succeeded", 1],
  ["FAILED", "failed", 1],
  ["TIMED_OUT", "failed", 1],
  ["SUPERSEDED", "cancelled", 0],
  ["CANCELLED", "cancelled", 0],
  ["ROLLED_BACK", "rolledBack", 0],
];

describe("the counters of a rollout", () => {
  it.each(cases)(
    "count an update in %s as %s, with its key, and again if it is deleted",
    async (state, counted, began) => {
      await using scene = await createScene();
      const id = await scene.insert("INSTALL", "OFFERED");
      expect(await scene.ring()).toMatchObject({ counters: { ...none, offered: 1, inProgress: 1 } });
      await scene.set(id, state);
      const { counters, keys } = await scene.ring();
      expect(counters).toEqual({ ...none, offered: 1, [counted]: 1, began });
      const { succeeded, failed, missing } = counters;
      const byKey = { offered: 1, succeeded, failed, began, missing, drifted: 0 };
      expect(keys).toEqual([{ keyId: scene.keyId, ...byKey }]);
      await scene.query("DELETE FROM device_updates");
      expect((await scene.ring()).counters).toEqual(none);
      expect(await scene.wrong()).toEqual([]);
    },
  );

  it("leave out a try that another one follows, a step that was taken, and rollbacks", async () => {
    await using scene = await createScene();
    await scene.query("UPDATE device_updates SET retry_at = now() WHERE id = $1", [
      await scene.insert("INSTALL", "FAILED"),
    ]);
    await scene.insert("STEP", "SUCCEEDED");
    await scene.insert("ROLLBACK", "OFFERED");
    await scene.insert("STEP", "FAILED");
    expect((await scene.ring()).counters).toEqual({ ...none, offered: 1, failed: 1, began: 1 });
    expect(await scene.wrong()).toEqual([]);
  });

  it("count a device as missing until its update ends, with its key", async () => {
    await using scene = await createScene();
    const id = await scene.insert("INSTALL", "REBOOTING");
    await scene.query("UPDATE device_updates SET missing_since = now() WHERE id = $1", [id]);
    const { counters, keys } = await scene.ring();
    expect(counters).toEqual({ ...none, offered: 1, inProgress: 1, began: 1, missing: 1 });
    const byKey = { offered: 1, succeeded: 0, failed: 0, began: 1, missing: 1, drifted: 0 };
    expect(keys).toEqual([{ keyId: scene.keyId, ...byKey }]);
    await scene.set(id, "TIMED_OUT");
    expect((await scene.ring()).counters).toEqual({ ...none, offered: 1, failed: 1, began: 1 });
    expect(await scene.wrong()).toEqual([]);
  });

  it("count a device that drifted among those that succeeded, with its key, until another try follows", async () => {
    await using scene = await createScene();
    const id = await scene.insert("INSTALL", "SUCCEEDED");
    await scene.query("UPDATE device_updates SET drifted_at = now(), drifted_to = '1.0.0' WHERE id = $1", [
      id,
    ]);
    const { counters, keys } = await scene.ring();
    expect(counters).toEqual({ ...none, offered: 1, succeeded: 1, began: 1, drifted: 1 });
    expect(keys).toMatchObject([{ keyId: scene.keyId, succeeded: 1, drifted: 1 }]);
    await scene.query("UPDATE device_updates SET retry_at = now() WHERE id = $1", [id]);
    expect((await scene.ring()).counters).toEqual(none);
    expect(await scene.wrong()).toEqual([]);
  });

  it("count a rollback that timed out as away until its device is heard", async () => {
    await using scene = await createScene();
    const id = await scene.insert("ROLLBACK", "TIMED_OUT");
    expect((await scene.rollout()).rollback).toMatchObject({ total: 1, failed: 1, away: 1 });
    await scene.query("UPDATE device_updates SET heard_at = now() WHERE id = $1", [id]);
    expect((await scene.rollout()).rollback).toMatchObject({ total: 1, failed: 1, away: 0 });
    expect(await scene.wrong()).toEqual([]);
  });

  it("count rollbacks in the rollout, and those that must not be made", async () => {
    await using scene = await createScene();
    await scene.insert("ROLLBACK", "OFFERED");
    await scene.insert("ROLLBACK", "SUCCEEDED");
    await scene.insert("ROLLBACK", "FAILED");
    await scene.insert("ROLLBACK", "CANCELLED");
    const retried = await scene.insert("ROLLBACK", "FAILED");
    await scene.query("UPDATE device_updates SET retry_at = now() WHERE id = $1", [retried]);
    const blocked = await scene.insert("ROLLBACK", "FAILED");
    await scene.query("UPDATE device_updates SET failure_reason = 'ROLLBACK_TARGET_MISSING' WHERE id = $1", [
      blocked,
    ]);
    expect((await scene.rollout()).rollback).toEqual({
      total: 5,
      completed: 1,
      failed: 3,
      blocked: 1,
      unreleased: 1,
      away: 0,
      waiting: 0,
    });
    expect(await scene.wrong()).toEqual([]);
  });

  it("are counted again by an operator, and set right", async () => {
    await using scene = await createScene();
    await scene.insert("INSTALL", "SUCCEEDED");
    await scene.insert("ROLLBACK", "SUCCEEDED");
    await scene.query("UPDATE deployment_rings SET succeeded_count = 7, in_progress_count = 3");
    await scene.query("UPDATE ring_key_counts SET failed_count = 2");
    await scene.query("UPDATE rollouts SET rollback_total = 0");
    expect(await scene.wrong()).toEqual([
      ["failed_count", scene.keyId, "2", "0"],
      ["in_progress_count", null, "3", "0"],
      ["rollback_total", null, "0", "1"],
      ["succeeded_count", null, "7", "1"],
    ]);
    expect(await scene.query("SELECT rollout_repair()::int AS repaired")).toEqual([{ repaired: 4 }]);
    expect(await scene.wrong()).toEqual([]);
    expect((await scene.ring()).counters).toEqual({ ...none, offered: 1, succeeded: 1, began: 1 });
  });
});

const none: RingCounters = {
  offered: 0,
  inProgress: 0,
  succeeded: 0,
  failed: 0,
  cancelled: 0,
  rolledBack: 0,
  began: 0,
  missing: 0,
  drifted: 0,
};

/** A rollout with one ring, whose updates are written by hand. */
async function createScene() {
  await using cleanup = new AsyncDisposableStack();
  const { url } = cleanup.use(await createTestDatabase());
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  // The pool's end does not wait for its connections' own, so that dropping the database may cut one that is just leaving.
  pool.on("connect", (client) => client.on("error", () => undefined));
  cleanup.defer(() => pool.end());
  const query = async (sql: string, values: unknown[] = []): Promise<object[]> =>
    (await pool.query(sql, values)).rows;
  const [firmwareId, rolloutId, ringId, keyId] = [uuidv7(), uuidv7(), uuidv7(), uuidv7()];
  await query(
    `INSERT INTO firmware_updates (id, product, version, state, device_types, sha256, size_bytes, kind, component)
     VALUES ($1, 'os', '1.1.0', 'RELEASED', '{thermostat}', 'x', 1, 'FIRMWARE', '')`,
    [firmwareId],
  );
  await query(
    `INSERT INTO rollouts (id, name, firmware_id, state, targeting, policy, creator)
     VALUES ($1, 'r', $2, 'RUNNING', '{}', '{}', 'operator:test')`,
    [rolloutId, firmwareId],
  );
  await query(
    `INSERT INTO deployment_rings (id, rollout_id, position, name, percent_basis_points, state, gate)
     VALUES ($1, $2, 0, 'all', 10000, 'OPEN', '{}')`,
    [ringId, rolloutId],
  );
  const set = async (id: string, state: DeviceUpdateState): Promise<void> => {
    const ended = isFinalUpdate(state);
    await query(
      `UPDATE device_updates SET state = $2, ended_at = CASE WHEN $3::boolean THEN now() END,
         installing_at = CASE WHEN $4::boolean THEN now() END WHERE id = $1`,
      [id, state, ended, isTaken(state)],
    );
  };
  const insert = async (action: UpdateAction, state: DeviceUpdateState): Promise<string> => {
    const [deviceId, id] = [uuidv7(), uuidv7()];
    await query(
      "INSERT INTO devices (id, serial_number, device_type, hardware_model) VALUES ($1, $2, 'thermostat', 't100')",
      [deviceId, deviceId],
    );
    await query(
      `INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
         to_version, offered_at, enrolment_key_id)
       VALUES ($1, $2, $3, $4, $5, $6, 'OFFERED', '1.0.0', '1.1.0', now(), $7)`,
      [deviceId, id, rolloutId, ringId, firmwareId, action, keyId],
    );
    if (state !== "OFFERED") await set(id, state);
    return id;
  };
  const rollout = async () => {
    const [read] = await readRollouts(sessionOn(pool), { ids: [rolloutId] });
    if (read === undefined) throw new Error("the rollout is gone");
    return read;
  };
  const ring = async () => {
    const found = (await rollout()).rings.find(({ id }) => id === ringId);
    if (found === undefined) throw new Error("the ring is gone");
    return found;
  };
  const wrong = async () =>
    (
      await pool.query(
        "SELECT counter, enrolment_key_id, stored, counted FROM rollout_recount() ORDER BY counter",
      )
    ).rows.map((row: Record<string, unknown>) => Object.values(row));
  const owned = cleanup.move();
  return {
    keyId,
    ringId,
    query,
    insert,
    set,
    rollout,
    ring,
    wrong,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
