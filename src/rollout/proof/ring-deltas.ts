import type pg from "pg";
import type { DeviceUpdateState } from "../model/device-update.entity.ts";

/** The ring's counter of an update that ended in this state. */
export function endedCounter(state: DeviceUpdateState): Exclude<RingCounter, "offered" | "in_progress"> {
  switch (state) {
    case "SUCCEEDED":
      return "succeeded";
    case "FAILED":
    case "TIMED_OUT":
      return "failed";
    case "ROLLED_BACK":
      return "rolled_back";
    case "SUPERSEDED":
    case "CANCELLED":
    case "OFFERED":
    case "DOWNLOADING":
    case "DOWNLOADED":
    case "INSTALLING":
    case "REBOOTING":
    case "VERIFYING":
      return "cancelled";
  }
}

const ringCounters = ["offered", "in_progress", "succeeded", "failed", "cancelled", "rolled_back"] as const;
type RingCounter = (typeof ringCounters)[number];

/** Changes of ring counters, summed up so that a ring's row is written once a batch and not once a device. */
export class RingDeltas {
  readonly #deltas = new Map<string, Record<RingCounter, number>>();
  readonly #keys = new Map<string, KeyDelta>();

  /** Counts a device of a ring, enrolled with the key. */
  add(ringId: string, keyId: string | null, counter: RingCounter, by: number): void {
    let delta = this.#deltas.get(ringId);
    if (delta === undefined) {
      delta = { offered: 0, in_progress: 0, succeeded: 0, failed: 0, cancelled: 0, rolled_back: 0 };
      this.#deltas.set(ringId, delta);
    }
    delta[counter] += by;
    if (keyId === null || (counter !== "offered" && counter !== "succeeded" && counter !== "failed")) return;
    const name = `${ringId}${keyId}`;
    let key = this.#keys.get(name);
    if (key === undefined) {
      key = { ringId, keyId, offered: 0, succeeded: 0, failed: 0 };
      this.#keys.set(name, key);
    }
    key[counter] += by;
  }

  /** Writes the sums; locks rings, then their keys, in the order of their ids. */

  async write(client: pg.ClientBase): Promise<void> {
    if (this.#deltas.size === 0) return;
    const ids = [...this.#deltas.keys()];
    // One has no order; an UPDATE of several may visit them in any.
    if (ids.length > 1) {
      await client.query({ name: "rollout_lock_rings", text: lockRingsSql, values: [ids] });
    }
    const columns = ringCounters.map((counter) => ids.map((id) => this.#deltas.get(id)?.[counter] ?? 0));
    await client.query({ name: "rollout_ring_counts", text: ringCountSql, values: [ids, ...columns] });
    if (this.#keys.size === 0) return;
    const keys = [...this.#keys].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, key]) => key);
    await client.query({
      name: "rollout_key_counts",
      text: keyCountSql,
      values: [
        keys.map(({ ringId }) => ringId),
        keys.map(({ keyId }) => keyId),
        keys.map(({ offered }) => offered),
        keys.map(({ succeeded }) => succeeded),
        keys.map(({ failed }) => failed),
      ],
    });
  }
}

interface KeyDelta {
  readonly ringId: string;
  readonly keyId: string;
  offered: number;
  succeeded: number;
  failed: number;
}

const lockRingsSql =
  "SELECT 1 FROM deployment_rings WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE";

const keyCountSql = `
  INSERT INTO ring_key_counts AS k (ring_id, enrolment_key_id, offered_count, succeeded_count, failed_count)
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[])
  ON CONFLICT (ring_id, enrolment_key_id) DO UPDATE SET offered_count = k.offered_count + excluded.offered_count,
    succeeded_count = k.succeeded_count + excluded.succeeded_count,
    failed_count = k.failed_count + excluded.failed_count`;

const ringCountSql = `
  UPDATE deployment_rings r SET
    ${ringCounters.map((counter) => `${counter}_count = r.${counter}_count + d.${counter}`).join(", ")},
    updated_at = now()
  FROM unnest($1::uuid[], ${ringCounters.map((_, at) => `$${at + 2}::int[]`).join(", ")})
    AS d (id, ${ringCounters.join(", ")})
  WHERE r.id = d.id`;
