import type { AuditEntry } from "../../access/audit-log.ts";
import type { RolloutTransaction } from "./rollout-transactions.ts";

/** Leaves the record of a change of a rollout, in the transaction that makes it. */
export async function recordRollout(
  { audit, em }: Pick<RolloutTransaction, "audit" | "em">,
  rolloutId: string,
  entry: Omit<AuditEntry, "resourceType" | "resourceId">,
): Promise<void> {
  await audit.record(em, { ...entry, resourceType: "rollout", resourceId: rolloutId });
}
