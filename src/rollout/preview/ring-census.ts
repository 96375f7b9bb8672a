import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Pool } from "../../infra/database/pool.ts";
import { sql } from "../../infra/database/sql.ts";
import type { Logger } from "../../infra/logger.ts";
import { percentText } from "../model/percent-text.ts";
import { frontRing, isUnsized, type RingCensusCounts, type Rollout } from "../model/rollout.ts";
import { readRollouts } from "../model/rollout-rows.ts";
import {
  lockRollout,
  type RolloutTransaction,
  type RolloutTransactions,
} from "../model/rollout-transactions.ts";
import type { RolloutPreview } from "./rollout-preview.ts";

/** Counts that a ring may be widened by: those of each ring, if the first one held every place below that of its end. */
export interface Places {
  /** How many devices each ring holds, as the rings are. */
  readonly rings: readonly RingCensusCounts[];
  /** Where each ring ends, of 10,000: also those that have no size yet. */
  readonly ends: readonly number[];
  /** The first place at which a device waits for the update, of 10,000; undefined if none does. */
  readonly lowestAwaited: number | undefined;
}

/** What a {@link RingCensus} is made of. */
export interface RingCensusParts {
  readonly pool: Pool;
  readonly preview: Pick<RolloutPreview, "places">;
  readonly transactions: RolloutTransactions;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often it is looked whether something is to be counted. */
  readonly everyMs: number;
}

/**
 * Counts the devices of the rings of running rollouts, as previews do: how many each holds, and how many of them may still
 * ask for the update. Without that nobody could tell a ring that is done from one that waits. Once when a ring opens, and
 * then every half minute, or as rarely as makes it a fiftieth of the database's time.
 *
 * Rings that are to hold so many devices get their ends by the first count; until then nobody is in them.
 *
 * A first ring that nobody is in is widened to the first device that waits, so that an update has a canary whatever chance
 * says.
 */
export class RingCensus {
  readonly round: Round;
  readonly #parts: RingCensusParts;
  #tookMs = 0;

  constructor(parts: RingCensusParts) {
    this.#parts = parts;
    const { clock, logger, everyMs } = parts;
    this.round = new Round({
      name: "ring_census",
      everyMs,
      work: (signal) => this.#run(signal),
      clock,
      logger,
    });
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { pool, clock } = this.#parts;
    for (const rollout of await readRollouts(pool, { states: ["RUNNING"] })) {
      if (signal.aborted) return;
      if (this.#isDue(rollout, clock.now())) await this.#count(rollout, signal);
    }
  }

  #isDue({ rings }: Rollout, now: Date): boolean {
    const front = frontRing(rings);
    if (front?.openedAt === undefined || front.state !== "OPEN") return false;
    const countedMs = front.census?.countedAt.getTime();
    if (countedMs === undefined || countedMs < front.openedAt.getTime()) return true;
    // A clock that was set back must not keep it from counting.
    return Math.abs(now.getTime() - countedMs) >= Math.max(leastIntervalMs, restFactor * this.#tookMs);
  }

  async #count(rollout: Rollout, signal: AbortSignal): Promise<void> {
    const { preview, transactions, clock, logger } = this.#parts;
    const beganMs = clock.monotonicMs();
    const places = await preview.places(rollout.id, signal);
    this.#tookMs = clock.monotonicMs() - beganMs;
    await transactions.run(async (tx) => {
      const locked = await lockRollout(tx, rollout.id);
      if (locked.rings.some(isUnsized)) return await size(tx, locked, places.ends);
      const percent = widened(locked, places);
      if (percent === undefined) return await store(tx, locked, places.rings);
      await widen(tx, locked, percent);
      logger.info({ rolloutId: rollout.id, percent: percent / 100 }, "widened the first ring of a rollout");
    });
  }
}

/** How far the first ring has to reach, of 10,000, to hold a device; undefined if it is wide enough, or nobody waits. Pure. */
export function widened(
  { rings, state }: Rollout,
  { rings: counts, lowestAwaited }: Places,
): number | undefined {
  const [first] = rings;
  if (state !== "RUNNING" || first === undefined || frontRing(rings) !== first) return undefined;
  if (lowestAwaited === undefined || first.counters.offered > 0 || (counts[0]?.awaited ?? 0) > 0)
    return undefined;
  const reach = lowestAwaited + 1;
  const last = rings.at(-1)?.percentBasisPoints ?? 0;
  return reach > first.percentBasisPoints && reach <= last ? reach : undefined;
}

/** Gives the rings of so many devices their ends, once and for all. They are counted again at once. */
async function size(tx: RolloutTransaction, rollout: Rollout, ends: readonly number[]): Promise<void> {
  if (rollout.state !== "RUNNING") return;
  await tx.run(sizeSql, [rollout.rings.map(({ id }) => id), ends]);
  for (const [at, ring] of rollout.rings.entries()) {
    if (!isUnsized(ring)) continue;
    const end = ends[at] ?? 0;
    await tx.audit.record(tx.em, {
      actor: "system:gate",
      action: "rollout.size_ring",
      resourceType: "rollout",
      resourceId: rollout.id,
      reason: `ring ${ring.name} is to hold ${ring.deviceTarget} devices with those before it: it reaches ${percentText(end)}`,
      details: { ring: ring.name, devices: String(ring.deviceTarget), percent: String(end / 100) },
    });
  }
  tx.changed(rollout.id);
}

/** Rings whose share the first one now exceeds end where it does, and so hold nobody. They are counted again at once. */
async function widen(tx: RolloutTransaction, rollout: Rollout, percent: number): Promise<void> {
  const [first] = rollout.rings;
  await tx.run(widenSql, [rollout.id, percent]);
  await tx.audit.record(tx.em, {
    actor: "system:gate",
    action: "rollout.widen",
    resourceType: "rollout",
    resourceId: rollout.id,
    reason: `ring ${first?.name}: no device is in it; it reaches ${percentText(percent)} now, to the first device`,
    details: { ring: first?.name ?? "", percent: String(percent / 100) },
  });
  tx.changed(rollout.id);
}

async function store(
  tx: RolloutTransaction,
  { id, rings }: Rollout,
  counts: readonly RingCensusCounts[],
): Promise<void> {
  await tx.run(storeSql, [
    rings.map((ring) => ring.id),
    counts.map(({ devices }) => devices),
    counts.map(({ eligible }) => eligible),
    counts.map(({ awaited }) => awaited),
    tx.now.toISOString(),
  ]);
  const same = rings.every(({ census }, at) =>
    (["devices", "eligible", "awaited"] as const).every((name) => census?.[name] === counts[at]?.[name]),
  );
  if (!same) tx.changed(id);
}

const storeSql = sql`
  UPDATE deployment_rings r SET device_count = c.devices, eligible_count = c.eligible, awaited_count = c.awaited,
    counted_at = $5::timestamptz
  FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) AS c (id, devices, eligible, awaited)
  WHERE r.id = c.id`;

const sizeSql = sql`
  UPDATE deployment_rings r SET percent_basis_points = e.percent_basis_points, counted_at = NULL, updated_at = now()
  FROM unnest($1::uuid[], $2::float8[]) AS e (id, percent_basis_points)
  WHERE r.id = e.id`;

const widenSql = sql`
  UPDATE deployment_rings SET percent_basis_points = greatest(percent_basis_points, $2::float8), counted_at = NULL,
    updated_at = now()
  WHERE rollout_id = $1::uuid`;

const leastIntervalMs = 30_000;

/** It rests this many times as long as it took. */
const restFactor = 50;
