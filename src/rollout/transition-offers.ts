import type pg from "pg";
import { OfferPace } from "./offer-pace.ts";
import type { RingDeltas } from "./ring-deltas.ts";
import type { NewOffer, OfferOutcome } from "./transition-sql.ts";

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

async function insertOffers(
  client: pg.ClientBase,
  offers: readonly NewOffer[],
): Promise<Map<string, string | null>> {
  if (offers.length === 0) return new Map();
  const { rows } = await client.query<{ id: string; key_id: string | null }>({
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
      offers.map(({ action }) => action),
      offers.map(({ component }) => component),
    ],
  });
  return new Map(rows.map(({ id, key_id }) => [id, key_id]));
}

/**
 * The lock on the device's row keeps it from being retired meanwhile: a retired device has no open update. A device that
 * had the rollout's firmware before, or failed at a step on the way to it, is not offered it again.
 */
const insertSql = `
  INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
    from_firmware_id, to_version, from_boot_id, offered_at, deadline_at, updated_at)
  SELECT o.device_id, o.id, o.rollout_id, o.ring_id, o.firmware_id, o.action, 'OFFERED', o.from_version,
    f.id, o.to_version, o.from_boot_id, o.offered_at, o.deadline_at, clock_timestamp()
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[],
      $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[])
    AS o (device_id, id, rollout_id, ring_id, firmware_id, product, from_version, to_version, from_boot_id,
      offered_at, deadline_at, action, component)
  JOIN (SELECT id FROM devices WHERE id = ANY ($1::uuid[]) AND NOT is_deleted ORDER BY id FOR SHARE) d
    ON d.id = o.device_id
  LEFT JOIN firmware_updates f ON f.product = o.product AND f.version = o.from_version AND NOT f.is_deleted
    AND f.state = 'RELEASED' AND f.component = o.component
  WHERE NOT EXISTS (
    SELECT 1 FROM device_updates u
    WHERE u.device_id = o.device_id AND u.rollout_id = o.rollout_id AND NOT (u.action = 'STEP' AND u.state = 'SUCCEEDED'))
  ON CONFLICT DO NOTHING
  RETURNING id, (SELECT d.enrolment_key_id FROM devices d WHERE d.id = device_updates.device_id) AS key_id`;

async function explainRefusals(
  client: pg.ClientBase,
  refused: readonly NewOffer[],
): Promise<[id: string, OfferOutcome][]> {
  if (refused.length === 0) return [];
  const { rows } = await client.query<{ device_id: string; rollout_id: string; open: boolean }>(
    "SELECT device_id, rollout_id, ended_at IS NULL AS open FROM device_updates WHERE device_id = ANY ($1::uuid[])",
    [refused.map(({ deviceId }) => deviceId)],
  );
  const byDevice = Map.groupBy(rows, ({ device_id }) => device_id);
  return refused.map(({ id, deviceId, rolloutId }) => {
    const updates = byDevice.get(deviceId) ?? [];
    if (updates.some(({ open }) => open)) return [id, "open"];
    return [id, updates.some(({ rollout_id }) => rollout_id === rolloutId) ? "tried" : "not_open"];
  });
}
