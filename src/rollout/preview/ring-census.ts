import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Pool } from "../../infra/database/pool.ts";
import { sql } from "../../infra/database/sql.ts";
import type { Logger } from "../../infra/logger.ts";
import { percentText } from "../model/percent-text.ts";
import { frontRing, isUnsized, type RingCensusCounts, type Rollout } from "../model/rollout.ts";
import { recordRollout } from "../model/rollout-audit.ts";
import { readRollouts } from "../model/rollout-rows.ts";
import {
  lockRollout,
  type RolloutTransaction,
  type RolloutTransactions,
} from "../model/rollout-transactions.ts";
import type { RolloutPreview } from "./rollout-preview.ts";
import { widenedReach } from "./widened-rings.ts";

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
 * Counts the devices of the rings of running rollouts, as previews do: how many each holds, how many of them may still ask for
 * the update, and whether these can be reached. Without that nobody could tell a ring that is done from one that waits. Once when a ring opens, and
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
      const percent = locked.state === "RUNNING" ? widenedReach(locked.rings, places) : undefined;
      if (percent === undefined) return await store(tx, locked, places.rings);
      await widen(tx, locked, percent);
      logger.info({ rolloutId: rollout.id, percent: percent / 100 }, "widened the first ring of a rollout");
    });
  }
}

/** Gives the rings of so many devices their ends, once and for all. They are counted again at once. */
async function size(tx: RolloutTransaction, rollout: Rollout, ends: readonly number[]): Promise<void> {
  if (rollout.state !== "RUNNING") return;
  await tx.run(sizeSql, [rollout.rings.map(({ id }) => id), ends]);
  for (const [at, ring] of rollout.rings.entries()) {
    if (!isUnsized(ring)) continue;
    const end = ends[at] ?? 0;
    await recordRollout(tx, rollout.id, {
      actor: "system:gate",
      action: "rollout.size_ring",
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
  await recordRollout(tx, rollout.id, {
    actor: "system:gate",
    action: "rollout.widen",
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
    counts.map(({ reachable }) => reachable),
    counts.map(({ heldBack }) => heldBack),
    counts.map(({ gone }) => gone),
  ]);
  const same = rings.every(({ census }, at) =>
    counted.every((name) => census?.[name] === counts[at]?.[name]),
  );
  if (!same) tx.changed(id);
}

const counted = ["devices", "eligible", "awaited", "reachable", "heldBack", "gone"] as const;

const storeSql = sql`
  UPDATE deployment_rings r SET device_count = c.devices, eligible_count = c.eligible, awaited_count = c.awaited,
    counted_at = $5::timestamptz, reachable_count = c.reachable, held_back_count = c.held_back, gone_count = c.gone
  FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
    AS c (id, devices, eligible, awaited, reachable, held_back, gone)
  WHERE r.id = c.id`;

const sizeSql = sql`
  UPDATE deployment_rings r SET percent_basis_points = e.percent_basis_points, counted_at = NULL, updated_at = now()
  FROM unnest($1::uuid[], $2::float8[]) AS e (id, percent_basis_points)
  WHERE r.id = e.id`;

const widenSql = sql`
  UPDATE deployment_rings SET percent_basis_points = greatest(percent_basis_points, $2::float8), counted_at = NULL,
    asked_basis_points = CASE WHEN percent_basis_points < $2::float8
      THEN coalesce(asked_basis_points, percent_basis_points) ELSE asked_basis_points END,
    updated_at = now()
  WHERE rollout_id = $1::uuid`;

const leastIntervalMs = 30_000;

/** It rests this many times as long as it took. */
const restFactor = 50;
