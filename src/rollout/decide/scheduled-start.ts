import { OtaError } from "../../errors.ts";
import type { FirmwareCatalog } from "../../firmware/firmware-catalog.ts";
import { sql } from "../../infra/database/sql.ts";
import type { Rollout } from "../model/rollout.ts";
import type { RolloutTransaction } from "../model/rollout-transactions.ts";
import { setAlert } from "./rollout-alert.ts";
import { pause, start } from "./rollout-verbs.ts";

/** What decides whether a rollout may start by itself. */
export interface StartChecks {
  readonly firmware: Pick<FirmwareCatalog, "requireDeployable">;
  /** Why a firmware must not be handed out, as update checks see it; undefined if it may. */
  readonly blocked: (firmwareId: string) => Promise<string | undefined>;
}

/**
 * Starts a scheduled rollout whose time has come, in a transaction that has it locked, or pauses it with an alert: what was
 * found in order when it was scheduled may not be any more, and nobody looks on. Its firmware must be deployable and not
 * blocked, and no other rollout of it may have been rolled back since. Who resumes it afterwards decides anew. Returns why it
 * was not started.
 */
export async function startOnTime(
  tx: RolloutTransaction,
  rollout: Rollout,
  checks: StartChecks,
): Promise<string | undefined> {
  const { startAt } = rollout.policy;
  const problem = await problemOf(tx, rollout, checks);
  if (problem === undefined) {
    await start(tx, rollout, { actor, reason: `its start time ${startAt} has come` });
    return undefined;
  }
  const reason = `not started at ${startAt}: ${problem.words}`;
  await pause(tx, rollout, { actor, reason, details: { rule: "deployable", found: problem.name } });
  await setAlert(tx, rollout.id, reason);
  return reason;
}

const actor = "system:schedule";

async function problemOf(
  tx: RolloutTransaction,
  { id, firmwareId }: Rollout,
  { firmware, blocked }: StartChecks,
): Promise<{ readonly name: string; readonly words: string } | undefined> {
  try {
    await firmware.requireDeployable(firmwareId, { actor, em: tx.em });
  } catch (error) {
    // An outage says nothing about the firmware: the next look may.
    if (!(error instanceof OtaError) || !refusals.has(error.code)) throw error;
    return { name: error.reason, words: error.message };
  }
  const why = await blocked(firmwareId);
  if (why !== undefined) return { name: "FIRMWARE_BLOCKED", words: why };
  const [other] = await tx.query<{ name: string }>(rolledBackSql, [id]);
  return other && { name: "TAKEN_BACK", words: `rollout ${other.name} of the same firmware was rolled back` };
}

const refusals: ReadonlySet<OtaError["code"]> = new Set(["failed_precondition", "not_found"]);

/** A rollout of the same firmware that was rolled back after $1 was scheduled, which was its last change. */
const rolledBackSql = sql`
  SELECT o.name FROM rollouts r JOIN rollouts o ON o.firmware_id = r.firmware_id AND o.id <> r.id
  WHERE r.id = $1::uuid
    AND (o.state = 'ROLLING_BACK' OR (o.state = 'ROLLED_BACK' AND o.updated_at > r.updated_at))
  ORDER BY o.id DESC LIMIT 1`;
