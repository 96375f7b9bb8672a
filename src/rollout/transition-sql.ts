import type pg from "pg";
import type { DeviceUpdateState, UpdateAction } from "./device-update.entity.ts";
import type { UpdateKey, UpdatePatch } from "./open-update.ts";

/** A change of one device's update: compare-and-set on the state that the caller saw. */
export interface UpdateChange extends UpdatePatch {
  readonly key: UpdateKey;
  readonly rolloutId: string;
  readonly from: DeviceUpdateState;
  /** May equal `from`: then only the rest changes. */
  readonly to: DeviceUpdateState;
}

/** An offer to be made to a device. */
export interface NewOffer extends UpdateKey {
  readonly rolloutId: string;
  readonly ringId: string;
  readonly firmwareId: string;
  readonly product: string;
  readonly fromVersion: string;
  readonly toVersion: string;
  readonly fromBootId: string;
  readonly offeredAt: Date;
  readonly deadlineAt: Date;
}

/** What became of an offer. */
export type OfferOutcome =
  /** It is stored. */
  | "offered"
  /** The device has had an update of this rollout before. */
  | "tried"
  /** The device has another open update. */
  | "open"
  /** As many devices as may are at it. */
  | "too_many"
  /** The rollout makes no offers any more, the ring is not open, or the device is retired. */
  | "not_open";

/** What a batch did. */
export interface BatchResult {
  /** Ids of the updates that changed as asked; the others had another state. */
  readonly applied: ReadonlySet<string>;
  /** By id of the offer. */
  readonly offers: ReadonlyMap<string, OfferOutcome>;
}

/**
 * Writes changes and offers in one transaction, with the counters that follow from the rows that really changed. At most
 * one entry a device.
 *
 * Locks are taken in this order, here and wherever else rollouts change: rollouts, device updates, rings; each in the
 * order of their ids. The rollout's row is the root: whoever decides over a rollout locks it for update and so sees
 * counters that equal the rows; writers share it, unless they make offers (the limit of devices in progress must be
 * exact) or end updates (which may count in the rollout's own row).
 */
export async function writeBatch(
  client: pg.ClientBase,
  changes: readonly UpdateChange[],
  offers: readonly NewOffer[],
): Promise<BatchResult> {
  const rolloutIds = [...new Set([...changes, ...offers].map(({ rolloutId }) => rolloutId))];
  const exclusive = offers.length > 0 || changes.some(({ endedAt }) => endedAt !== undefined);
  const rollouts = await lockRollouts(client, rolloutIds, exclusive);
  const applied = new Set<string>();
  const rings = new RingDeltas();
  const rollbacks = new Map<string, { completed: number; failed: number }>();
  for (const row of await updateRows(client, changes)) {
    applied.add(row.id);
    if (row.from_state === row.to_state || !row.ended) continue;
    if (row.action === "INSTALL") {
      rings.add(row.ring_id, "in_progress", -1);
      rings.add(row.ring_id, counterOf(row.to_state), 1);
      continue;
    }
    const counts = rollbacks.get(row.rollout_id) ?? { completed: 0, failed: 0 };
    rollbacks.set(row.rollout_id, counts);
    counts[row.to_state === "SUCCEEDED" ? "completed" : "failed"] += 1;
  }
  const outcomes = await makeOffers(client, offers, rollouts, rings);
  await rings.write(client);
  for (const [rolloutId, { completed, failed }] of [...rollbacks].sort(([a], [b]) => (a < b ? -1 : 1))) {
    await client.query(rollbackCountSql, [rolloutId, completed, failed]);
  }
  return { applied, offers: outcomes };
}

/** The ring's counter of an update that ended in this state. */
function counterOf(state: DeviceUpdateState): Exclude<RingCounter, "offered" | "in_progress"> {
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
class RingDeltas {
  readonly #deltas = new Map<string, Record<RingCounter, number>>();

  add(ringId: string, counter: RingCounter, by: number): void {
    let delta = this.#deltas.get(ringId);
    if (delta === undefined) {
      delta = { offered: 0, in_progress: 0, succeeded: 0, failed: 0, cancelled: 0, rolled_back: 0 };
      this.#deltas.set(ringId, delta);
    }
    delta[counter] += by;
  }

  async write(client: pg.ClientBase): Promise<void> {
    if (this.#deltas.size === 0) return;
    const ids = [...this.#deltas.keys()];
    await client.query(
      "SELECT 1 FROM deployment_rings WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE",
      [ids],
    );
    const columns = ringCounters.map((counter) => ids.map((id) => this.#deltas.get(id)?.[counter] ?? 0));
    await client.query({ name: "rollout_ring_counts", text: ringCountSql, values: [ids, ...columns] });
  }
}

const ringCountSql = `
  UPDATE deployment_rings r SET
    ${ringCounters.map((counter) => `${counter}_count = r.${counter}_count + d.${counter}`).join(", ")},
    updated_at = now()
  FROM unnest($1::uuid[], ${ringCounters.map((_, at) => `$${at + 2}::int[]`).join(", ")})
    AS d (id, ${ringCounters.join(", ")})
  WHERE r.id = d.id`;

const rollbackCountSql = `
  UPDATE rollouts SET rollback_completed = rollback_completed + $2, rollback_failed = rollback_failed + $3,
    updated_at = now()
  WHERE id = $1`;

interface LockedRollout {
  readonly id: string;
  readonly state: string;
  readonly max_in_progress: number | null;
}

async function lockRollouts(
  client: pg.ClientBase,
  ids: readonly string[],
  exclusive: boolean,
): Promise<Map<string, LockedRollout>> {
  const { rows } = await client.query<LockedRollout>(
    `SELECT id, state, (policy->>'maxInProgress')::int AS max_in_progress FROM rollouts
     WHERE id = ANY ($1::uuid[]) ORDER BY id ${exclusive ? "FOR NO KEY UPDATE" : "FOR SHARE"}`,
    [ids],
  );
  return new Map(rows.map((row) => [row.id, row]));
}

interface ChangedRow {
  readonly id: string;
  readonly rollout_id: string;
  readonly ring_id: string;
  readonly action: UpdateAction;
  readonly from_state: DeviceUpdateState;
  readonly to_state: DeviceUpdateState;
  readonly ended: boolean;
}

async function updateRows(client: pg.ClientBase, changes: readonly UpdateChange[]): Promise<ChangedRow[]> {
  if (changes.length === 0) return [];
  const sorted = [...changes].sort((a, b) => (a.key.deviceId < b.key.deviceId ? -1 : 1));
  const { rows } = await client.query<ChangedRow>({
    name: "rollout_update_changes",
    text: updateSql,
    values: [
      sorted.map(({ key }) => key.deviceId),
      sorted.map(({ key }) => key.id),
      sorted.map(({ from }) => from),
      sorted.map(({ to }) => to),
      sorted.map(({ fromBootId }) => fromBootId ?? null),
      sorted.map(({ crashCount }) => crashCount ?? null),
      sorted.map(({ downloadedBytes }) => downloadedBytes ?? null),
      sorted.map(({ installingAt }) => installingAt ?? null),
      sorted.map(({ provenAt }) => provenAt ?? null),
      sorted.map(({ verifyUntil }) => verifyUntil ?? null),
      sorted.map(({ deadlineAt }) => deadlineAt ?? null),
      sorted.map(({ failureReason }) => failureReason ?? null),
      sorted.map(({ failureMessage }) => failureMessage ?? null),
      sorted.map(({ endedAt }) => endedAt ?? null),
    ],
  });
  return rows;
}

/** The rows are locked in the order of the devices first: an UPDATE with a join may visit them in any order. */
const updateSql = `
  WITH c AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::int[], $7::bigint[],
        $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[],
        $14::timestamptz[])
      AS c (device_id, id, from_state, to_state, from_boot_id, crash_count, downloaded_bytes,
        installing_at, proven_at, verify_until, deadline_at, failure_reason, failure_message, ended_at)
  ), locked AS MATERIALIZED (
    SELECT u.device_id, u.id FROM device_updates u JOIN c ON c.device_id = u.device_id AND c.id = u.id
    WHERE u.state = c.from_state AND u.ended_at IS NULL
    ORDER BY u.device_id FOR UPDATE OF u
  )
  UPDATE device_updates u SET
    state = c.to_state,
    from_boot_id = coalesce(c.from_boot_id, u.from_boot_id),
    crash_count = coalesce(c.crash_count, u.crash_count),
    downloaded_bytes = greatest(c.downloaded_bytes, u.downloaded_bytes),
    installing_at = coalesce(u.installing_at, c.installing_at),
    proven_at = coalesce(u.proven_at, c.proven_at),
    verify_until = coalesce(c.verify_until, u.verify_until),
    deadline_at = coalesce(c.deadline_at, u.deadline_at),
    failure_reason = coalesce(c.failure_reason, u.failure_reason),
    failure_message = coalesce(c.failure_message, u.failure_message),
    ended_at = c.ended_at,
    updated_at = clock_timestamp()
  FROM c JOIN locked l ON l.device_id = c.device_id AND l.id = c.id
  WHERE u.device_id = c.device_id AND u.id = c.id AND u.state = c.from_state AND u.ended_at IS NULL
  RETURNING u.id, u.rollout_id, u.ring_id, u.action, c.from_state, u.state AS to_state, u.ended_at IS NOT NULL AS ended`;

async function makeOffers(
  client: pg.ClientBase,
  offers: readonly NewOffer[],
  rollouts: ReadonlyMap<string, LockedRollout>,
  rings: RingDeltas,
): Promise<Map<string, OfferOutcome>> {
  const outcomes = new Map<string, OfferOutcome>();
  if (offers.length === 0) return outcomes;
  const { rows: ringRows } = await client.query<{
    id: string;
    rollout_id: string;
    open: boolean;
    at_it: number;
  }>(
    `SELECT id, rollout_id, state <> 'WAITING' AS open, in_progress_count::float8 AS at_it
     FROM deployment_rings WHERE rollout_id = ANY ($1::uuid[])`,
    [[...new Set(offers.map(({ rolloutId }) => rolloutId))]],
  );
  const openRings = new Set(ringRows.filter(({ open }) => open).map(({ id }) => id));
  const inProgress = new Map<string, number>();
  for (const { rollout_id, at_it } of ringRows) {
    inProgress.set(rollout_id, (inProgress.get(rollout_id) ?? 0) + at_it);
  }
  const wanted: NewOffer[] = [];
  for (const offer of [...offers].sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1))) {
    const rollout = rollouts.get(offer.rolloutId);
    const offering = rollout?.state === "RUNNING" || rollout?.state === "COMPLETED";
    const count = inProgress.get(offer.rolloutId) ?? 0;
    if (rollout === undefined || !offering || !openRings.has(offer.ringId))
      outcomes.set(offer.id, "not_open");
    else if (count >= (rollout.max_in_progress ?? Number.POSITIVE_INFINITY))
      outcomes.set(offer.id, "too_many");
    else {
      wanted.push(offer);
      inProgress.set(offer.rolloutId, count + 1);
    }
  }
  const inserted = await insertOffers(client, wanted);
  const refused = wanted.filter(({ id }) => !inserted.has(id));
  for (const offer of wanted) {
    if (!inserted.has(offer.id)) continue;
    outcomes.set(offer.id, "offered");
    rings.add(offer.ringId, "offered", 1);
    rings.add(offer.ringId, "in_progress", 1);
  }
  for (const [id, outcome] of await explainRefusals(client, refused)) outcomes.set(id, outcome);
  return outcomes;
}

async function insertOffers(client: pg.ClientBase, offers: readonly NewOffer[]): Promise<Set<string>> {
  if (offers.length === 0) return new Set();
  const { rows } = await client.query<{ id: string }>({
    name: "rollout_insert_offers",
    text: insertSql,
    values: [
      offers.map(({ deviceId }) => deviceId),
      offers.map(({ id }) => id),
      offers.map(({ rolloutId }) => rolloutId),
      offers.map(({ ringId }) => ringId),
      offers.map(({ firmwareId }) => firmwareId),
      offers.map(({ product }) => product),
      offers.map(({ fromVersion }) => fromVersion),
      offers.map(({ toVersion }) => toVersion),
      offers.map(({ fromBootId }) => fromBootId),
      offers.map(({ offeredAt }) => offeredAt),
      offers.map(({ deadlineAt }) => deadlineAt),
    ],
  });
  return new Set(rows.map(({ id }) => id));
}

/** The lock on the device's row keeps it from being retired meanwhile: a retired device has no open update. */
const insertSql = `
  INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
    from_firmware_id, to_version, from_boot_id, offered_at, deadline_at, updated_at)
  SELECT o.device_id, o.id, o.rollout_id, o.ring_id, o.firmware_id, 'INSTALL', 'OFFERED', o.from_version,
    f.id, o.to_version, o.from_boot_id, o.offered_at, o.deadline_at, clock_timestamp()
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[],
      $10::timestamptz[], $11::timestamptz[])
    AS o (device_id, id, rollout_id, ring_id, firmware_id, product, from_version, to_version, from_boot_id,
      offered_at, deadline_at)
  JOIN (SELECT id FROM devices WHERE id = ANY ($1::uuid[]) AND NOT is_deleted ORDER BY id FOR SHARE) d
    ON d.id = o.device_id
  LEFT JOIN firmware_updates f ON f.product = o.product AND f.version = o.from_version AND NOT f.is_deleted
    AND f.state = 'RELEASED'
  ON CONFLICT DO NOTHING
  RETURNING id`;

async function explainRefusals(
  client: pg.ClientBase,
  refused: readonly NewOffer[],
): Promise<[id: string, OfferOutcome][]> {
  if (refused.length === 0) return [];
  const { rows } = await client.query<{ device_id: string; rollout_id: string; open: boolean }>(
    `SELECT device_id, rollout_id, ended_at IS NULL AS open FROM device_updates
     WHERE device_id = ANY ($1::uuid[]) AND action = 'INSTALL'
     UNION ALL
     SELECT device_id, rollout_id, true FROM device_updates
     WHERE device_id = ANY ($1::uuid[]) AND action = 'ROLLBACK' AND ended_at IS NULL`,
    [refused.map(({ deviceId }) => deviceId)],
  );
  const byDevice = Map.groupBy(rows, ({ device_id }) => device_id);
  return refused.map(({ id, deviceId, rolloutId }) => {
    const updates = byDevice.get(deviceId) ?? [];
    if (updates.some(({ open }) => open)) return [id, "open"];
    return [id, updates.some(({ rollout_id }) => rollout_id === rolloutId) ? "tried" : "not_open"];
  });
}
