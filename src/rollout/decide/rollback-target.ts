import { OtaError } from "../../errors.ts";
import { recalledFirmwareSql } from "../../firmware/recalls.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { refusedSql } from "../model/refused-firmware.ts";
import type { Rollout } from "../model/rollout.ts";

/**
 * Checks that devices which roll a firmware of this product can be rolled back to the target. `ROLLBACK_TARGET_REFUSED`
 * unless it is another, released firmware of the same product and component, for some of the same device types, that is not
 * recalled and was not itself rolled back by the newest rollout of it. Whether it fits each device, and its security counter, is judged
 * device by device.
 * `field` is where the request names the target.
 */
export async function assertRollbackTarget(
  session: Session,
  from: { readonly firmwareId: string; readonly product: string },
  targetId: string,
  field = "firmware_id",
): Promise<void> {
  const [target] = await session.query<{ version: string; problem: string | null }>(targetSql, [
    targetId,
    from.firmwareId,
  ]);
  const problem = target === undefined ? "there is no such firmware" : target.problem;
  if (problem !== null) throw refused(targetId, field, problem);
  const [taken] = await session.query<{ refused: boolean }>(wasRolledBackSql, [targetId]);
  if (taken?.refused === true) throw refused(targetId, field, "it was itself rolled back");
}

/**
 * Checks that a rollout which is rolled back, or was, goes back to this firmware: `ROLLBACK_TARGET_REFUSED` if to another, for
 * devices that were told cannot be told otherwise.
 */
export async function assertSameTarget(
  session: Session,
  { id, rollbackPlan }: Rollout,
  targetId: string,
): Promise<void> {
  const [other] = await session.query(otherTargetSql, [id, targetId]);
  const planned = rollbackPlan === undefined || rollbackPlan.firmwareId === targetId;
  if (planned && other === undefined) return;
  throw refused(targetId, "firmware_id", "the rollout is rolled back to another version already");
}

function refused(firmwareId: string, field: string, problem: string): OtaError {
  return new OtaError(
    "failed_precondition",
    "ROLLBACK_TARGET_REFUSED",
    `cannot go back to ${firmwareId}: ${problem}`,
    {
      metadata: { firmware_id: firmwareId },
      fields: [{ field, description: problem }],
    },
  );
}

const targetSql = sql`
  SELECT t.version, CASE
    WHEN t.id = f.id THEN 'it is what the rollout brings'
    WHEN t.product <> f.product THEN 'it is of another product'
    WHEN t.component <> f.component THEN 'it updates something else'
    WHEN t.state <> 'RELEASED' THEN 'it is not released'
    WHEN t.id IN ${recalledFirmwareSql} THEN 'it is recalled'
    WHEN NOT (t.device_types && f.device_types) THEN 'it is for other device types'
  END AS problem
  FROM firmware_updates t, firmware_updates f
  WHERE t.id = $1::uuid AND NOT t.is_deleted AND f.id = $2::uuid`;

/** A rollback of rollout $1 to another firmware than $2. */
const otherTargetSql = sql`
  SELECT 1 FROM device_updates
  WHERE rollout_id = $1::uuid AND action = 'ROLLBACK' AND firmware_id <> $2::uuid LIMIT 1`;

/** Whether the firmware $1 was rolled back by its newest rollout. */
const wasRolledBackSql = sql`SELECT coalesce(${refusedSql}, false) AS refused FROM firmware_updates f WHERE f.id = $1::uuid`;
