import type pg from "pg";
import type { UpdateAction } from "../model/device-update.entity.ts";
import type { UpdateKey } from "../model/open-update.ts";
import { OfferPace } from "./offer-pace.ts";
import { plainArray } from "./plain-array.ts";
import type { RingDeltas } from "./ring-deltas.ts";

/** An offer to be made to a device. */
export interface NewOffer extends UpdateKey {
  readonly rolloutId: string;
  readonly ringId: string;
  readonly firmwareId: string;
  /** INSTALL, or STEP on the way to it. */
  readonly action: UpdateAction;
  readonly product: string;
  /** The application that it updates; empty for firmware. */
  readonly component: string;
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
  /** The device has another open update, or is to be taken back first. */
  | "open"
  /** As many devices as may are at it. */
  | "too_many"
  /** The rollout has made as many offers in this minute as it may. */
  | "paced"
  /** The rollout makes no offers any more, the ring is not open, or the device is retired. */
  | "not_open";

/** A rollout that the transaction has locked. */
export interface LockedRollout {
  readonly id: string;
  readonly state: string;
  readonly max_in_progress: number | null;
  readonly offers_per_minute: number | null;
  /** When the minute began in which offers are counted, in milliseconds since 1970; null before the first one. */
  readonly pace_began_ms: number | null;
  readonly pace_count: number;
}

/** Makes the offers that the rollouts, locked by the caller, allow; counts them in `rings`. */
export async function makeOffers(
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
  }>({
    name: "rollout_rings",
    text: `SELECT id, rollout_id, state <> 'WAITING' AS open, in_progress_count::float8 AS at_it
      FROM deployment_rings WHERE rollout_id = ANY ($1::uuid[])`,
    values: [[...new Set(offers.map(({ rolloutId }) => rolloutId))]],
  });
  const openRings = new Set(ringRows.filter(({ open }) => open).map(({ id }) => id));
  const inProgress = new Map<string, number>();
  for (const { rollout_id, at_it } of ringRows) {
    inProgress.set(rollout_id, (inProgress.get(rollout_id) ?? 0) + at_it);
  }
  const pace = new OfferPace();
  const wanted: NewOffer[] = [];
  for (const offer of [...offers].sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1))) {
    const rollout = rollouts.get(offer.rolloutId);
    const offering = rollout?.state === "RUNNING" || rollout?.state === "COMPLETED";
    const count = inProgress.get(offer.rolloutId) ?? 0;
    if (rollout === undefined || !offering || !openRings.has(offer.ringId))
      outcomes.set(offer.id, "not_open");
    else if (count >= (rollout.max_in_progress ?? Number.POSITIVE_INFINITY))
      outcomes.set(offer.id, "too_many");
    else if (!pace.take(rollout, offer.offeredAt)) outcomes.set(offer.id, "paced");
    else {
      wanted.push(offer);
      inProgress.set(offer.rolloutId, count + 1);
    }
  }
  const inserted = await insertOffers(client, wanted);
  const refused = wanted.filter(({ id }) => !inserted.has(id));
  for (const offer of wanted) {
    const keyId = inserted.get(offer.id);
    if (keyId === undefined) continue;
    outcomes.set(offer.id, "offered");
    rings.add(offer.ringId, keyId, "offered", 1);
    rings.add(offer.ringId, keyId, "in_progress", 1);
  }
  await pace.write(client);
  for (const [id, outcome] of await explainRefusals(client, refused)) outcomes.set(id, outcome);
  return outcomes;
}

/** Stores offers; returns the enrolment keys of the devices that have them now, by the offers' ids. */
async function insertOffers(
  client: pg.ClientBase,
  wanted: readonly NewOffer[],
): Promise<Map<string, string | null>> {
  const keys = await lockDevices(client, wanted);
  const offers = wanted.filter(({ deviceId }) => keys.has(deviceId));
  if (offers.length === 0) return new Map();
  const { rows } = await client.query<{ id: string; device_id: string }>({
    name: "rollout_insert_offers",
    text: insertSql,
    values: [
      plainArray(offers.map(({ deviceId }) => deviceId)),
      plainArray(offers.map(({ id }) => id)),
      plainArray(offers.map(({ rolloutId }) => rolloutId)),
      plainArray(offers.map(({ ringId }) => ringId)),
      plainArray(offers.map(({ firmwareId }) => firmwareId)),
      offers.map(({ product }) => product),
      offers.map(({ fromVersion }) => fromVersion),
      offers.map(({ toVersion }) => toVersion),
      offers.map(({ fromBootId }) => fromBootId),
      plainArray(offers.map(({ offeredAt }) => offeredAt)),
      plainArray(offers.map(({ deadlineAt }) => deadlineAt)),
      plainArray(offers.map(({ action }) => action)),
      offers.map(({ component }) => component),
    ],
  });
  return new Map(rows.map(({ id, device_id }) => [id, keys.get(device_id) ?? null]));
}

/**
 * Keeps devices from being retired meanwhile: a retired device has no open update. Returns the enrolment keys of those that
 * are not, by id.
 */
async function lockDevices(
  client: pg.ClientBase,
  offers: readonly NewOffer[],
): Promise<Map<string, string | null>> {
  if (offers.length === 0) return new Map();
  const { rows } = await client.query<{ id: string; key_id: string | null }>({
    name: "rollout_lock_devices",
    text: `SELECT id, enrolment_key_id AS key_id FROM devices WHERE id = ANY ($1::uuid[]) AND NOT is_deleted
      ORDER BY id FOR SHARE`,
    values: [plainArray(offers.map(({ deviceId }) => deviceId))],
  });
  return new Map(rows.map(({ id, key_id }) => [id, key_id]));
}

/**
 * A device that had the rollout's firmware before, or failed at a step on the way to it, is not offered it again, and one
 * that another rollout has to take back is offered nothing before that. There are no joins: each row costs its look-ups,
 * whatever the planner thinks of a table that grows by thousands of rows a second.
 */
const insertSql = `
  INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
    from_firmware_id, to_version, from_boot_id, offered_at, deadline_at, updated_at)
  SELECT o.device_id, o.id, o.rollout_id, o.ring_id, o.firmware_id, o.action, 'OFFERED', o.from_version,
    (SELECT f.id FROM firmware_updates f WHERE f.product = o.product AND f.version = o.from_version
       AND f.component = o.component AND f.state = 'RELEASED' AND NOT f.is_deleted LIMIT 1),
    o.to_version, o.from_boot_id, o.offered_at, o.deadline_at, clock_timestamp()
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[],
      $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[])
    AS o (device_id, id, rollout_id, ring_id, firmware_id, product, from_version, to_version, from_boot_id,
      offered_at, deadline_at, action, component)
  WHERE (SELECT u.id FROM device_updates u
    WHERE u.device_id = o.device_id AND (u.take_back_by IS NOT NULL OR
      u.rollout_id = o.rollout_id AND NOT (u.action = 'STEP' AND u.state = 'SUCCEEDED') AND u.attempt > 0)
    LIMIT 1) IS NULL
  ON CONFLICT DO NOTHING
  RETURNING id, device_id`;

async function explainRefusals(
  client: pg.ClientBase,
  refused: readonly NewOffer[],
): Promise<[id: string, OfferOutcome][]> {
  if (refused.length === 0) return [];
  const { rows } = await client.query<{ device_id: string; rollout_id: string; open: boolean }>(
    `SELECT device_id, rollout_id, ended_at IS NULL OR take_back_by IS NOT NULL AS open FROM device_updates
     WHERE device_id = ANY ($1::uuid[])`,
    [refused.map(({ deviceId }) => deviceId)],
  );
  const byDevice = Map.groupBy(rows, ({ device_id }) => device_id);
  return refused.map(({ id, deviceId, rolloutId }) => {
    const updates = byDevice.get(deviceId) ?? [];
    if (updates.some(({ open }) => open)) return [id, "open"];
    return [id, updates.some(({ rollout_id }) => rollout_id === rolloutId) ? "tried" : "not_open"];
  });
}
