import { sql } from "../../infra/database/sql.ts";
import type { Rollout } from "../model/rollout.ts";
import { recordRollout } from "../model/rollout-audit.ts";
import type { RolloutTransaction } from "../model/rollout-transactions.ts";

/** Says on a rollout what needs a person; empty if nothing does. In a transaction that has it locked. */
export async function setAlert(tx: RolloutTransaction, rolloutId: string, alert: string): Promise<void> {
  await tx.run(alertSql, [rolloutId, alert]);
  tx.changed(rolloutId);
}

/** Notes it, with its record. In a transaction that has the rollout locked. */
export async function noteUnreadable(tx: RolloutTransaction, rollout: Rollout, alert: string): Promise<void> {
  await setAlert(tx, rollout.id, alert);
  await recordRollout(tx, rollout.id, {
    actor: "system:targeting",
    action: alert === "" ? "rollout.readable" : "rollout.unreadable",
    reason: alert === "" ? "all of it can be read again" : alert,
  });
}

const alertSql = sql`UPDATE rollouts SET alert = $2, updated_at = now() WHERE id = $1::uuid`;

/** Notes that it cannot go on by itself, with its record, or that it can again. In a transaction that has the rollout locked. */
export async function noteStuck(tx: RolloutTransaction, rollout: Rollout, alert: string): Promise<void> {
  await setAlert(tx, rollout.id, alert);
  if (alert === "") return;
  await recordRollout(tx, rollout.id, {
    actor: "system:gate",
    action: "rollout.stuck",
    reason: alert,
  });
}
