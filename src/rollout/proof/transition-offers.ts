import { RowArrays } from "../../infra/database/row-arrays.ts";
import type { Session } from "../../infra/database/session.ts";
import { prepared, sql, words } from "../../infra/database/sql.ts";
import { versionIdentity } from "../../version/version-key.ts";
import type { UpdateAction } from "../model/device-update.entity.ts";
import { untakenStates } from "../model/device-update-state.ts";
import type { UpdateKey } from "../model/open-update.ts";
import type { RolloutState } from "../model/rollout.entity.ts";
import { makesOffers } from "../model/rollout-state.ts";
import { supersededSql } from "../model/superseded-sql.ts";
import { triedSql } from "../model/tried-sql.ts";
import { OfferPace } from "./offer-pace.ts";
import { renewTries } from "./repeated-offers.ts";

/** An offer to be made to a device. */
export interface NewOffer extends UpdateKey {
  readonly kind: "offer";
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
  /** The device's open update that gives way to it, unless the device has begun to install that by then. */
  readonly replaces?: { readonly id: string; readonly rolloutId: string } | undefined;
}

/** The rollouts whose counters an offer may change. */
export function rolloutsOf({
  rolloutId,
  replaces,
}: Pick<NewOffer, "rolloutId" | "replaces">): readonly string[] {
  return replaces === undefined ? [rolloutId] : [rolloutId, replaces.rolloutId];
}

/** A device's further try, that it begins with. Only the limit of devices at the update can be in the way. */
export interface FurtherTry extends UpdateKey {
  readonly kind: "further try";
  readonly rolloutId: string;
}

/** What became of an offer. */
export type OfferOutcome =
  /** It is stored. */
  | "offered"
  /** The device has had an update of this rollout before. */
  | "tried"
  /** The device has another open update. */
  | "open"
  /** The device is to be rolled back first. */
  | "goes_back"
  /** As many devices as may are updating. */
  | "too_many"
  /** The rollout has made as many offers in this minute as it may. */
  | "paced"
  /** The rollout makes no offers any more, its version is recalled, the ring is not open, or the device is retired. */
  | "not_open";

/** A rollout that the transaction has locked. */
export interface LockedRollout {
  readonly id: string;
  readonly state: RolloutState;
  readonly max_in_progress: number | null;
  readonly offers_per_minute: number | null;
  /** When the minute began in which offers are counted, in milliseconds since 1970; null before the first one. */
  readonly pace_began_ms: number | null;
  readonly pace_count: number;
  /** Whether the version that it brings is recalled. */
  readonly recalled: boolean;
  /** Whether it is the way out of a recall, which is offered more than once. */
  readonly is_way_out: boolean;
}

/** Makes the offers, and lets devices begin with further tries, that the rollouts, locked by the caller, allow. */
export async function makeOffers(
  session: Session,
  offers: readonly (NewOffer | FurtherTry)[],
  rollouts: ReadonlyMap<string, LockedRollout>,
): Promise<Map<string, OfferOutcome>> {
  const outcomes = new Map<string, OfferOutcome>();
  if (offers.length === 0) return outcomes;
  const inProgress = await readInProgress(session, rollouts);
  const pace = new OfferPace();
  const wanted: NewOffer[] = [];
  const tries: FurtherTry[] = [];
  for (const offer of [...offers].sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1))) {
    const rollout = rollouts.get(offer.rolloutId);
    const count = inProgress.get(offer.rolloutId) ?? 0;
    const isTry = offer.kind === "further try";
    // What is open goes on, whatever the rollout's state.
    if (rollout === undefined || !(isTry || (makesOffers(rollout.state) && !rollout.recalled))) {
      outcomes.set(offer.id, "not_open");
      continue;
    }
    if (count >= (rollout.max_in_progress ?? Number.POSITIVE_INFINITY)) {
      outcomes.set(offer.id, "too_many");
      continue;
    }
    if (!isTry && !pace.take(rollout, offer.offeredAt)) {
      outcomes.set(offer.id, "paced");
      continue;
    }
    if (isTry) tries.push(offer);
    else wanted.push(offer);
    inProgress.set(offer.rolloutId, count + 1);
  }
  await renewTries(
    session,
    wanted.filter(({ rolloutId }) => rollouts.get(rolloutId)?.is_way_out === true),
  );
  const inserted = await insertOffers(session, wanted);
  await pace.write(session);
  for (const id of inserted) outcomes.set(id, "offered");
  const begunIds = await beginTries(session, tries);
  for (const { id } of tries) outcomes.set(id, begunIds.has(id) ? "offered" : "open");
  const refused = wanted.filter(({ id }) => !inserted.has(id));
  for (const [id, outcome] of await explainRefusals(session, refused)) outcomes.set(id, outcome);
  return outcomes;
}

/** Lets devices begin with the tries that they waited for; returns the ids of those that were still waiting. */
async function beginTries(session: Session, tries: readonly FurtherTry[]): Promise<Set<string>> {
  if (tries.length === 0) return new Set();
  const rows = await session.query<{ id: string }>(beginSql, begun.values(tries));
  return new Set(rows.map(({ id }) => id));
}

const begun = new RowArrays<FurtherTry>({
  device_id: ["uuid", ({ deviceId }) => deviceId],
  id: ["uuid", ({ id }) => id],
});

const beginSql = sql`
  UPDATE device_updates u SET not_before = NULL, updated_at = clock_timestamp()
  FROM ${begun.as(sql`t`)}
  WHERE u.device_id = t.device_id AND u.id = t.id AND u.state = 'OFFERED' AND u.ended_at IS NULL
  RETURNING u.id`;

/** How many devices take a slot, of the rollouts that limit that: those that wait for a further try do not. */
async function readInProgress(
  session: Session,
  rollouts: ReadonlyMap<string, LockedRollout>,
): Promise<Map<string, number>> {
  const limited = [...rollouts.values()].filter(({ max_in_progress }) => max_in_progress !== null);
  if (limited.length === 0) return new Map();
  const rows = await session.query<{ rollout_id: string; at_it: number }>(inProgressSql, [
    limited.map(({ id }) => id),
  ]);
  return new Map(rows.map(({ rollout_id, at_it }) => [rollout_id, at_it]));
}

const inProgressSql = prepared(
  "rollout_in_progress",
  sql`
  SELECT r.rollout_id, (sum(r.in_progress_count) - (
    SELECT count(*) FROM device_updates u WHERE u.rollout_id = r.rollout_id AND u.not_before IS NOT NULL
      AND u.ended_at IS NULL AND u.state = 'OFFERED' AND u.action <> 'ROLLBACK'))::float8 AS at_it
  FROM deployment_rings r WHERE r.rollout_id = ANY ($1::uuid[]) GROUP BY r.rollout_id`,
);

/** Stores offers, in the order of their devices; returns the ids of those that devices have now. */
async function insertOffers(session: Session, offers: readonly NewOffer[]): Promise<Set<string>> {
  if (offers.length === 0) return new Set();
  await makeWay(session, offers);
  const rows = await session.query<{ id: string }>(insertSql, offered.values(offers));
  return new Set(rows.map(({ id }) => id));
}

const offered = new RowArrays<NewOffer>({
  device_id: ["uuid", ({ deviceId }) => deviceId],
  id: ["uuid", ({ id }) => id],
  rollout_id: ["uuid", ({ rolloutId }) => rolloutId],
  ring_id: ["uuid", ({ ringId }) => ringId],
  firmware_id: ["uuid", ({ firmwareId }) => firmwareId],
  product: ["text", ({ product }) => product],
  from_version: ["text", ({ fromVersion }) => fromVersion],
  to_version: ["text", ({ toVersion }) => toVersion],
  from_boot_id: ["text", ({ fromBootId }) => fromBootId],
  offered_at: ["timestamptz", ({ offeredAt }) => offeredAt],
  deadline_at: ["timestamptz", ({ deadlineAt }) => deadlineAt],
  action: ["text", ({ action }) => action],
  component: ["text", ({ component }) => component],
  // Made here: in SQL each costs some 8 us and more.
  from_identity: ["text", ({ fromVersion }) => versionIdentity(fromVersion)],
});

/** Whether a device may have an offer `o`, whatever it is at. */
const mayHaveSql = sql`
  (SELECT r.state FROM deployment_rings r WHERE r.id = o.ring_id) <> 'WAITING'
    AND (SELECT w.id FROM device_updates w
      WHERE w.device_id = o.device_id AND (w.take_back_by IS NOT NULL OR
        w.rollout_id = o.rollout_id AND ${triedSql})
      LIMIT 1) IS NULL`;

/** Ends the open updates that give way to offers. Where one does not any more, its device has it still, and is given no other. */
async function makeWay(session: Session, offers: readonly NewOffer[]): Promise<void> {
  const replacing = offers.flatMap(({ replaces, ...offer }) =>
    replaces === undefined ? [] : [{ ...offer, replacedId: replaces.id }],
  );
  if (replacing.length > 0) await session.run(makeWaySql, replacements.values(replacing));
}

const replacements = new RowArrays<Omit<NewOffer, "replaces"> & { readonly replacedId: string }>({
  device_id: ["uuid", ({ deviceId }) => deviceId],
  replaced_id: ["uuid", ({ replacedId }) => replacedId],
  rollout_id: ["uuid", ({ rolloutId }) => rolloutId],
  ring_id: ["uuid", ({ ringId }) => ringId],
  offered_at: ["timestamptz", ({ offeredAt }) => offeredAt],
});

/** Of the device `v`: it is in service and neither blocked nor in quarantine. */
const mayBeOfferedSql = sql`NOT v.is_deleted AND v.blocked_at IS NULL AND v.quarantined_at IS NULL`;

const makeWaySql = prepared(
  "rollout_make_way",
  sql`
  WITH due AS MATERIALIZED (
    SELECT o.* FROM ${replacements.as(sql`o`)}
    CROSS JOIN LATERAL (SELECT FROM devices v WHERE v.id = o.device_id AND ${mayBeOfferedSql} FOR SHARE) d
    WHERE ${mayHaveSql}
  )
  UPDATE device_updates u SET ${supersededSql(sql`due.offered_at`)}
  FROM due
  WHERE u.device_id = due.device_id AND u.id = due.replaced_id AND u.ended_at IS NULL AND u.action = 'INSTALL'
    AND u.state IN (${words(untakenStates)})`,
);

/**
 * A device that had the rollout's firmware before, or failed at a step on the way to it, is not offered it again, and one
 * that another rollout has to roll back is offered nothing before that. The lock keeps a device from being retired
 * or blocked meanwhile: such a device has no open update. There are no joins: each row costs its look-ups, whatever the planner
 * thinks of a table that grows by thousands of rows a second.
 */
const insertSql = prepared(
  "rollout_insert_offers",
  sql`
  INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
    from_firmware_id, to_version, from_boot_id, offered_at, deadline_at, updated_at, enrolment_key_id)
  SELECT o.device_id, o.id, o.rollout_id, o.ring_id, o.firmware_id, o.action, 'OFFERED', o.from_version,
    (SELECT f.id FROM firmware_version_keys k, firmware_updates f
       WHERE k.product = o.product AND k.identity = o.from_identity AND f.id = k.firmware_id
       AND f.component = o.component AND f.state = 'RELEASED' LIMIT 1),
    o.to_version, o.from_boot_id, o.offered_at, o.deadline_at, clock_timestamp(), d.enrolment_key_id
  FROM ${offered.as(sql`o`)}
  CROSS JOIN LATERAL (
    SELECT v.enrolment_key_id FROM devices v WHERE v.id = o.device_id AND ${mayBeOfferedSql} FOR SHARE
  ) d
  WHERE ${mayHaveSql}
  ON CONFLICT DO NOTHING
  RETURNING id`,
);

async function explainRefusals(
  session: Session,
  refused: readonly NewOffer[],
): Promise<[id: string, OfferOutcome][]> {
  if (refused.length === 0) return [];
  const rows = await session.query<RefusedRow>(refusedSql, [refused.map(({ deviceId }) => deviceId)]);
  const byDevice = Map.groupBy(rows, ({ device_id }) => device_id);
  return refused.map(({ id, deviceId, rolloutId }) => {
    const updates = byDevice.get(deviceId) ?? [];
    if (updates.some(({ open }) => open)) return [id, "open"];
    if (updates.some(({ goes_back }) => goes_back)) return [id, "goes_back"];
    const isTried = updates.some(({ rollout_id, tried }) => tried && rollout_id === rolloutId);
    return [id, isTried ? "tried" : "not_open"];
  });
}

const refusedSql = sql`
  SELECT w.device_id, w.rollout_id, w.ended_at IS NULL AS open, w.take_back_by IS NOT NULL AS goes_back,
    ${triedSql} AS tried
  FROM device_updates w WHERE w.device_id = ANY ($1::uuid[])`;

interface RefusedRow {
  readonly device_id: string;
  readonly rollout_id: string;
  readonly open: boolean;
  readonly goes_back: boolean;
  readonly tried: boolean;
}
