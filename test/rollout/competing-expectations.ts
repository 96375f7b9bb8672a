import { expect } from "vitest";
import { isSampled, ringIndex } from "../../src/rollout/model/ring-place.ts";
import { isReached } from "../../src/rollout/model/ring-state.ts";
import type { Scene } from "./competing-scene.ts";
import { expectExactCounters } from "./rollout-fixture.ts";

/** Who is reached by a rollout stays so, however its rings go on. */
export function expectNobodyDropped(scene: Scene): void {
  for (const [replica, { engine }] of scene.place.replicas.entries()) {
    for (const id of scene.ids) {
      const compiled = engine.index.get(id);
      if (compiled === undefined) continue;
      const places = scene.fleet.devices.map((device) => {
        const groups = scene.groups.get(device.id) ?? [];
        return { id: device.id, groups, updatePin: scene.pins.get(device.id) ?? "none" } as const;
      });
      const reached = places.filter((place) => {
        const ring = compiled.rings[ringIndex(compiled, place)];
        return ring !== undefined && isReached(ring.state) && isSampled(compiled, place);
      });
      const now = new Set(reached.map((place) => place.id));
      const before = scene.reached.get(`${replica} ${id}`) ?? new Set();
      expect([...before].filter((deviceId) => !now.has(deviceId))).toEqual([]);
      scene.reached.set(`${replica} ${id}`, now);
    }
  }
}

/** One update at a time, in the past as well; what ended stays as it ended; counters equal the rows. */
export async function expectOneAtATime(scene: Scene): Promise<void> {
  const ids = scene.fleet.devices.map(({ id }) => id);
  const { rows } = await scene.place.world.database.adminPool.query<{
    id: string;
    state: string;
    over: boolean;
  }>(
    "SELECT id, state, ended_at IS NOT NULL AS over FROM device_updates WHERE device_id = ANY ($1::uuid[])",
    [ids],
  );
  for (const { id, state, over } of rows) {
    expect(scene.ended.get(id) ?? state).toBe(state);
    if (over) scene.ended.set(id, state);
  }
  // What says that a device cannot go back, or waited in vain for it, it was never given.
  const { rows: overlaps } = await scene.place.world.database.adminPool.query(
    `SELECT a.id, b.id FROM device_updates a JOIN device_updates b
       ON b.device_id = a.device_id AND b.id <> a.id AND b.offered_at >= a.offered_at
       AND b.offered_at < coalesce(a.ended_at, 'infinity') AND b.id > a.id
       AND NOT (b.action = 'ROLLBACK' AND b.state = 'FAILED' AND b.ended_at = b.offered_at)
     WHERE a.device_id = ANY ($1::uuid[])`,
    [ids],
  );
  expect(overlaps).toEqual([]);
  const { rows: excluded } = await scene.place.world.database.adminPool.query(
    "SELECT u.id FROM device_updates u JOIN devices d ON d.id = u.device_id WHERE d.update_pin = 'excluded'",
  );
  expect(excluded).toEqual([]);
  // What had to make way, other than an offer that nobody began with, made it for a rollback of the same component or for a
  // rollout of higher priority.
  const { rows: displaced } = await scene.place.world.database.adminPool.query(
    `SELECT u.id FROM device_updates u JOIN firmware_updates f ON f.id = u.firmware_id
     WHERE u.device_id = ANY ($1::uuid[]) AND u.state = 'SUPERSEDED' AND u.attempt > 0 AND NOT EXISTS (
       SELECT 1 FROM device_updates b JOIN firmware_updates g ON g.id = b.firmware_id
       JOIN rollouts r ON r.id = b.rollout_id JOIN rollouts s ON s.id = u.rollout_id
       WHERE b.device_id = u.device_id AND b.offered_at = u.ended_at AND g.component = f.component
         AND (b.action = 'ROLLBACK' OR (r.policy->>'priority')::int > (s.policy->>'priority')::int))`,
    [ids],
  );
  expect(displaced).toEqual([]);
  // And nobody waits for a rollback that nothing makes any more.
  const { rows: forgotten } = await scene.place.world.database.adminPool.query(
    `SELECT u.id FROM device_updates u JOIN rollouts r ON r.id = u.rollout_id
     WHERE u.take_back_by IS NOT NULL AND (r.rollback_plan IS NULL OR r.state IN ('ROLLED_BACK', 'ABORTED'))`,
  );
  expect(forgotten).toEqual([]);
  await expectExactCounters(scene.place.world);
}
