import { v7 as uuidv7 } from "uuid";
import type { Cause } from "../../call/cause.ts";
import type { ListPosition } from "../../call/list-page.ts";
import { invalidArgument } from "../../errors.ts";
import type { Firmware } from "../../firmware/firmware.ts";
import type { FirmwareCatalog } from "../../firmware/firmware-catalog.ts";
import { type Recall, readRecalls } from "../../firmware/recalls.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { insertRollout } from "../decide/insert-rollout.ts";
import { setAlert } from "../decide/rollout-alert.ts";
import { abort, start } from "../decide/rollout-verbs.ts";
import type { NewPolicy, NewRollout, RolloutDefaults } from "../model/new-rollout.ts";
import type { StoredPolicy } from "../model/rollout.entity.ts";
import { nextRolloutState } from "../model/rollout-state.ts";
import {
  lockAnyRollout,
  lockRollout,
  type RolloutTransaction,
  type RolloutTransactions,
} from "../model/rollout-transactions.ts";
import { nothing, recallEffect, type VerbEffect } from "../model/verb-effect.ts";
import { isRecalledAlert } from "../model/way-out.ts";
import { readBringing, type Stopped, stopRecalled } from "./recalled-updates.ts";
import { assertReplaces, type NamedVersion, readVersion, type VersionName } from "./recalled-version.ts";

/** What a {@link RecallCatalog} is made of. */
export interface RecallCatalogParts {
  readonly pool: Session;
  readonly transactions: RolloutTransactions;
  readonly firmware: Pick<FirmwareCatalog, "requireDeployable">;
  readonly defaults: RolloutDefaults;
}

/** A version to be recalled, and what is to take its place. */
export interface WantedRecall {
  readonly name: VersionName;
  readonly replacementId: string;
  /** How devices take the replacement; priority, downgrades, drift and the way back are given by the recall. */
  readonly policy: NewPolicy;
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
   * Recalls a version, or leads its recall to another replacement. `NOT_FOUND`; `INVALID_REQUEST` unless the replacement is another
   * version of the same; the errors of a deployment of the replacement, `FIRMWARE_RECALLED` among them: so no recalls lead in a circle.
   * Recalls that led to this version lead to its replacement from then on.
   */
  recall(wanted: WantedRecall, by: Cause): Promise<SteeredRecall> {
    return this.#parts.transactions.run(async (tx) => {
      await tx.run(oneAtATimeSql);
      const { version, replacement } = await checkedRecall(tx, this.#parts.firmware, wanted, by.actor);
      const [before] = await readRecalls(tx, { product: version.product, version: version.version });
      if (before?.replacementId === replacement.id) {
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

/**
 * What is wanted, checked: the version, and the replacement with its row locked. Errors as of {@link RecallCatalog.recall}.
 */
export async function checkedRecall(
  tx: Pick<RolloutTransaction, "em" | "query" | "run">,
  firmware: Pick<FirmwareCatalog, "requireDeployable">,
  { name, replacementId, policy }: WantedRecall,
  actor: string,
): Promise<{ readonly version: NamedVersion; readonly replacement: Firmware }> {
  if (policy.startAt !== undefined && policy.startAt !== null) {
    throw invalidArgument("policy.start_time", "must not be set: a recall begins at once");
  }
  const version = await readVersion(tx, name);
  const replacement = await firmware.requireDeployable(replacementId, { actor, em: tx.em });
  assertReplaces(replacement, version);
  return { version, replacement };
}

/** The rollout that leads away from a recalled version: of one ring, for whoever runs it, in whichever direction. */
export function wayOut(
  recall: { readonly id: string; readonly version: string },
  replacement: Pick<Firmware, "id" | "product" | "version">,
  policy: NewPolicy,
): NewRollout {
  return {
    firmwareId: replacement.id,
    name: `${replacement.product} ${recall.version} recalled, to ${replacement.version}`,
    targeting: {},
    policy: {
      ...policy,
      allowDowngrade: true,
      priority: highestPriority,
      healDrift: 0,
      rollbackFirmwareId: undefined,
    },
    rings: [{ name: "all", percent: 100, gate: { manual: true } }],
    recall,
  };
}

/** A stored policy as it could be given again: without the time of its start, for that has come. */
function givenPolicy(policy: Readonly<StoredPolicy>): NewPolicy {
  const given = Object.entries(policy).filter(([name, value]) => value !== null && name !== "startAt");
  return Object.fromEntries(given) as NewPolicy;
}

/** What priorities go up to; ways out go before all of them. */
const highestPriority = 100;

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
