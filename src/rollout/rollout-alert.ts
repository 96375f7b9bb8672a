import type { CompiledRollout } from "./compiled-rollout.ts";
import type { Rollout } from "./rollout.ts";
import type { RolloutTransaction } from "./rollout-transactions.ts";

/** Says on a rollout what needs a person; empty if nothing does. In a transaction that has it locked. */
export async function setAlert(tx: RolloutTransaction, rolloutId: string, alert: string): Promise<void> {
  await tx.query("UPDATE rollouts SET alert = $2, updated_at = now() WHERE id = $1::uuid", [
    rolloutId,
    alert,
  ]);
  tx.changed(rolloutId);
}

/**
 * What the alert of a rollout has to become for what of it can or cannot be read; undefined if it may stay. Any other alert
 * goes first, until somebody has seen to it.
 */
export function dueAlert(
  { alert }: Pick<Rollout, "alert">,
  compiled: Pick<CompiledRollout, "unreadable"> | undefined,
): string | undefined {
  if (compiled === undefined) return undefined;
  const due = compiled.unreadable === undefined ? "" : `${unreadableAlert}: ${compiled.unreadable}`;
  return alert !== due && (alert === "" || alert.startsWith(unreadableAlert)) ? due : undefined;
}

const unreadableAlert = "the rollout is for no device";

/** Notes it, with its record. In a transaction that has the rollout locked. */
export async function noteUnreadable(tx: RolloutTransaction, rollout: Rollout, alert: string): Promise<void> {
  await setAlert(tx, rollout.id, alert);
  await tx.audit.record(tx.em, {
    actor: "system:targeting",
    action: alert === "" ? "rollout.readable" : "rollout.unreadable",
    resourceType: "rollout",
    resourceId: rollout.id,
    reason: alert === "" ? "all of it can be read again" : alert,
    details: {},
  });
}
