import { isDeepStrictEqual } from "node:util";
import { v7 as uuidv7 } from "uuid";
import type { Cause } from "../../call/cause.ts";
import type { ListPosition } from "../../call/list-page.ts";
import type { Firmware } from "../../firmware/firmware.ts";
import type { FirmwareCatalog } from "../../firmware/firmware-catalog.ts";
import { type Recall, readRecalls } from "../../firmware/recalls.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { insertRollout } from "../decide/insert-rollout.ts";
import { setAlert } from "../decide/rollout-alert.ts";
import { abort, start } from "../decide/rollout-verbs.ts";
import { type NewPolicy, planPolicy, type RolloutDefaults } from "../model/new-rollout.ts";
import { isFinalRollout, nextRolloutState } from "../model/rollout-state.ts";
import {
  lockAnyRollout,
  lockRollout,
  type RolloutTransaction,
  type RolloutTransactions,
} from "../model/rollout-transactions.ts";
import { nothing, recallEffect, type VerbEffect } from "../model/verb-effect.ts";
import { isRecalledAlert } from "../model/way-out.ts";
import { readBringing, type Stopped, stopRecalled } from "./recalled-updates.ts";
import { type NamedVersion, readVersion, type VersionName } from "./recalled-version.ts";
import { checkedRecall, givenByRecall, givenPolicy, type WantedRecall, wayOut } from "./wanted-recall.ts";

/** What a {@link RecallCatalog} is made of. */
export interface RecallCatalogParts {
  readonly pool: Session;
  readonly transactions: RolloutTransactions;
  readonly firmware: Pick<FirmwareCatalog, "requireDeployable">;
  readonly defaults: RolloutDefaults;
}

/** A recall as it is after the verb. */
export interface SteeredRecall extends Recall {
  readonly effect: VerbEffect;
}

/**
 * The versions that no device may run any more. A recall stops all that brings its version, in one transaction, and makes a rollout
 * that leads away from it. One recall is made or taken back at a time, so that none leads to a version that another one takes away.
 */
export class RecallCatalog {
  readonly #parts: RecallCatalogParts;

  constructor(parts: RecallCatalogParts) {
    this.#parts = parts;
  }

  /** Up to `limit` recalls that are in force, after the id `after`, newest first. */
  list(filter: { readonly product?: string | undefined }, page: ListPosition): Promise<Recall[]> {
    return readRecalls(this.#parts.pool, filter, page);
  }

  /**
   * Recalls a version, or leads its recall to another replacement, by another policy, or again after its way out was aborted. `NOT_FOUND`; `INVALID_REQUEST` unless the replacement is another
   * version of the same; the errors of a deployment of the replacement, `FIRMWARE_RECALLED` among them: so no recalls lead in a circle.
   * Recalls that led to this version lead to its replacement from then on.
   */
  recall(wanted: WantedRecall, by: Cause): Promise<SteeredRecall> {
    return this.#parts.transactions.run(async (tx) => {
      await tx.run(oneAtATimeSql);
      const { version, replacement } = await checkedRecall(tx, this.#parts.firmware, wanted, by.actor);
      const [before] = await readRecalls(tx, { product: version.product, version: version.version });
      if (before !== undefined && (await this.#leadsSo(tx, before, wanted))) {
        return { ...before, effect: nothing(`${wordsOf(before)} already`) };
      }
      const id = before?.id ?? (await insert(tx, version, replacement, by));
      await this.#lead(tx, { id, version: version.version, before }, replacement, wanted.policy, by);
      const others = version.firmware && (await readRecalls(tx, { replacementId: version.firmware.id }));
      for (const other of others ?? []) {
        const { policy } = await lockAnyRollout(tx, other.rolloutId);
        await this.#lead(tx, { ...other, before: other }, replacement, givenPolicy(policy), by);
      }
      const stopped = await stopAll(tx);
      const recall = await requireRecall(tx, id);
      return { ...recall, effect: recallEffect([wordsOf(recall)], stopped) };
    });
  }

  /** Takes a recall back, and aborts its way out; unchanged for what is not recalled. `NOT_FOUND` for an unknown firmware. */
  reinstate(name: VersionName, by: Cause): Promise<VerbEffect> {
    return this.#parts.transactions.run(async (tx) => {
      await tx.run(oneAtATimeSql);
      const { product, version } = await readVersion(tx, name);
      const [recall] = await readRecalls(tx, { product, version });
      if (recall === undefined) return nothing(`version ${version} of ${product} is not recalled`);
      await tx.run(reinstateSql, [recall.id, tx.now.toISOString()]);
      const cancelled = await abortWayOut(tx, recall, {
        ...by,
        reason: `${version} was reinstated${by.reason === "" ? "" : `: ${by.reason}`}`,
      });
      const paused = await readPaused(tx, recall);
      for (const { id } of paused) await setAlert(tx, id, "");
      await record(tx, recall, "firmware.reinstate", by, { rollout_id: recall.rolloutId });
      return recallEffect(
        [
          `version ${version} of ${product} is reinstated`,
          ...(paused.length === 0 ? [] : [`${paused.length} paused of its rollouts can be resumed`]),
        ],
        { cancelled },
      );
    });
  }

  /** Whether a recall has a way out to the wanted replacement, by the wanted policy as far as that says anything. */
  async #leadsSo(
    tx: RolloutTransaction,
    recall: Recall,
    { replacementId, policy }: WantedRecall,
  ): Promise<boolean> {
    if (recall.replacementId !== replacementId) return false;
    const rollout = await lockAnyRollout(tx, recall.rolloutId);
    if (isFinalRollout(rollout.state)) return false;
    const wanted = planPolicy({ ...givenPolicy(rollout.policy), ...policy }, this.#parts.defaults);
    return isDeepStrictEqual({ ...wanted, ...givenByRecall }, { ...rollout.policy, ...givenByRecall });
  }

  /** Leads a recall to a replacement: by a new rollout, which takes the place of the one that it had. */
  async #lead(
    tx: RolloutTransaction,
    { id, version, before }: Led,
    replacement: Firmware,
    policy: NewPolicy,
    by: Cause,
  ): Promise<void> {
    const reason = `the way out of ${replacement.product} ${version}${by.reason === "" ? "" : `: ${by.reason}`}`;
    if (before !== undefined) {
      await abortWayOut(tx, before, { ...by, reason: `${version} leads to ${replacement.version} now` });
    }
    const rolloutId = await insertRollout(tx, wayOut({ id, version }, replacement, policy), {
      firmware: replacement,
      actor: by.actor,
      defaults: this.#parts.defaults,
    });
    await start(tx, await lockRollout(tx, rolloutId), { ...by, reason });
    await tx.run(leadSql, [id, replacement.id, rolloutId]);
    await record(tx, await requireRecall(tx, id), "firmware.recall", by, {
      replacement_id: replacement.id,
      replacement_version: replacement.version,
      rollout_id: rolloutId,
    });
  }
}

/** A recall that is led to a replacement, and how it was before. */
interface Led {
  readonly id: string;
  readonly version: string;
  readonly before: Recall | undefined;
}

async function insert(
  tx: RolloutTransaction,
  { product, version }: NamedVersion,
  { id: replacementId, component }: Firmware,
  { actor, reason }: Cause,
): Promise<string> {
  const id = uuidv7();
  await tx.run(insertSql, [id, product, component, version, replacementId, reason, actor]);
  return id;
}

/** Stops what brings recalled versions, rollout by rollout in the order of their ids. */
async function stopAll(tx: RolloutTransaction): Promise<Stopped> {
  const sum = { pausedRollouts: 0, cancelled: 0, rollbacks: 0, blocked: 0 };
  for (const rolloutId of await readBringing(tx)) {
    const stopped = await stopRecalled(tx, rolloutId);
    sum.pausedRollouts += stopped.pausedRollouts;
    sum.cancelled += stopped.cancelled;
    sum.rollbacks += stopped.rollbacks;
    sum.blocked += stopped.blocked;
  }
  return sum;
}

/** Ends the rollout that a recall led away by; returns how many updates that cancelled. */
async function abortWayOut(tx: RolloutTransaction, { rolloutId }: Recall, by: Cause): Promise<number> {
  const rollout = await lockAnyRollout(tx, rolloutId);
  if (nextRolloutState(rollout.state, "abort") === undefined) return 0;
  await abort(tx, rollout, by);
  return countCancelled(await lockAnyRollout(tx, rolloutId)) - countCancelled(rollout);
}

function countCancelled({
  rings,
}: {
  readonly rings: readonly { counters: { cancelled: number } }[];
}): number {
  return rings.reduce((sum, { counters }) => sum + counters.cancelled, 0);
}

/** The rollouts that were paused for a recall, and not seen to since. */
async function readPaused(
  tx: RolloutTransaction,
  { firmwareId }: Recall,
): Promise<{ readonly id: string }[]> {
  if (firmwareId === undefined) return [];
  const rows = await tx.query<{ id: string; alert: string }>(pausedSql, [firmwareId]);
  return rows.filter(({ alert }) => isRecalledAlert(alert));
}

async function requireRecall(session: Session, id: string): Promise<Recall> {
  const [recall] = await readRecalls(session, { ids: [id] });
  if (recall === undefined) throw new Error(`recall ${id} is gone`);
  return recall;
}

function wordsOf({ product, version, replacementVersion }: Recall): string {
  return `version ${version} of ${product} is recalled, and whoever runs it is offered ${replacementVersion}`;
}

async function record(
  tx: RolloutTransaction,
  { id, product, version, firmwareId }: Recall,
  action: string,
  { actor, reason }: Cause,
  details: Readonly<Record<string, string>>,
): Promise<void> {
  await tx.audit.record(tx.em, {
    actor,
    action,
    resourceType: firmwareId === undefined ? "recall" : "firmware",
    resourceId: firmwareId ?? id,
    reason,
    details: { recall_id: id, product, version, ...details },
  });
}

/** Readers go on meanwhile. */
const oneAtATimeSql = sql`LOCK TABLE recalls IN SHARE ROW EXCLUSIVE MODE`;

const insertSql = sql`
  INSERT INTO recalls (id, product, component, version, identity, replacement_id, reason, actor)
  VALUES ($1::uuid, $2, $3, $4, version_identity($4), $5::uuid, $6, $7)`;

const leadSql = sql`
  UPDATE recalls SET replacement_id = $2::uuid, rollout_id = $3::uuid, running_count = NULL, updated_at = now()
  WHERE id = $1::uuid`;

const reinstateSql = sql`
  UPDATE recalls SET reinstated_at = $2::timestamptz, updated_at = now() WHERE id = $1::uuid`;

const pausedSql = sql`
  SELECT id, alert FROM rollouts WHERE firmware_id = $1::uuid AND state = 'PAUSED' AND NOT is_deleted ORDER BY id`;
