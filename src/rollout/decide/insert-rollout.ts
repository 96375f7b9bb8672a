import { v7 as uuidv7 } from "uuid";
import { readModelNames } from "../../device/filter/model-names.ts";
import { notFound, OtaError } from "../../errors.ts";
import type { Firmware } from "../../firmware/firmware.ts";
import { uniqueViolation } from "../../infra/database/errors.ts";
import { DeploymentRingEntity } from "../model/deployment-ring.entity.ts";
import {
  assertTargeting,
  type NewRollout,
  planPolicy,
  planRings,
  planTargeting,
  type RolloutDefaults,
} from "../model/new-rollout.ts";
import { RolloutEntity } from "../model/rollout.entity.ts";
import { recordRollout } from "../model/rollout-audit.ts";
import type { RolloutTransaction } from "../model/rollout-transactions.ts";
import { assertRollbackTarget } from "./rollback-target.ts";

/**
 * Writes a rollout in DRAFT, with its record, of a firmware that was found deployable in this transaction; returns its id.
 * `INVALID_ARGUMENT` for rings or targeting that make no sense; `DUPLICATE` for the salt of another rollout.
 */
export async function insertRollout(
  tx: RolloutTransaction,
  wanted: NewRollout,
  { firmware, actor, defaults }: { firmware: Firmware; actor: string; defaults: RolloutDefaults },
): Promise<string> {
  const rings = planRings(wanted.rings);
  if (firmware.deletedAt !== undefined) throw notFound("firmware", firmware.id);
  const targeting = planTargeting(wanted.targeting);
  assertTargeting(targeting, firmware, await readModelNames(tx));
  const back = wanted.policy.rollbackFirmwareId;
  if (back !== undefined) {
    const from = { firmwareId: firmware.id, product: firmware.product };
    await assertRollbackTarget(tx, from, back, "policy.rollback_firmware_id");
  }
  const id = uuidv7();
  const name = wanted.name || `${firmware.product} ${firmware.version}`;
  const { salt, recall } = wanted;
  try {
    await tx.em.insert(RolloutEntity, {
      id,
      ...(salt === undefined ? {} : { salt }),
      ...(recall === undefined ? {} : { recallId: recall.id }),
      name,
      firmwareId: firmware.id,
      state: "DRAFT",
      targeting,
      policy: planPolicy(wanted.policy, defaults),
      metadata: wanted.metadata ?? {},
      creator: actor,
      startedAt: null,
      endedAt: null,
    });
  } catch (error) {
    if (uniqueViolation(error) !== "rollouts_salt_unique") throw error;
    throw saltTaken(salt ?? id);
  }
  for (const [position, ring] of rings.entries()) {
    await tx.em.insert(DeploymentRingEntity, {
      ...ring,
      deviceTarget: ring.deviceTarget ?? null,
      id: uuidv7(),
      rolloutId: id,
      position,
      state: "WAITING",
      openedAt: null,
      gateHeldSince: null,
      passedAt: null,
    });
  }
  await recordRollout(tx, id, {
    actor,
    action: "rollout.create",
    details: { name, firmware_id: firmware.id, version: firmware.version },
  });
  tx.changed(id);
  return id;
}

/** Two rollouts with the same canaries would always try their luck on the same devices. */
function saltTaken(salt: string): OtaError {
  const description = "another rollout has it: preview again for a new one";
  return new OtaError("already_exists", "DUPLICATE", `salt: ${description}`, {
    metadata: { salt },
    fields: [{ field: "salt", description }],
  });
}
