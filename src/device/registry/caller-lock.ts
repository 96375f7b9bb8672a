import { LockMode } from "@mikro-orm/core";
import type { EntityManager } from "@mikro-orm/postgresql";
import { credentialRevoked, deviceBlocked } from "../../call/bearer.ts";
import { DeviceEntity } from "../state/device.entity.ts";

/**
 * Locks the calling device until the transaction ends. Who was let in a moment ago may be out by now: throws `CREDENTIAL_REVOKED` for a
 * device that is gone, or whose credential does not count any more as `counts` says, and `DEVICE_BLOCKED`.
 */
export async function lockCaller(
  em: EntityManager,
  deviceId: string,
  counts: () => Promise<boolean> = () => Promise.resolve(true),
): Promise<void> {
  const device = await em.findOne(DeviceEntity, deviceId, { lockMode: LockMode.PESSIMISTIC_WRITE });
  if (device === null || !(await counts())) throw credentialRevoked();
  if (device.blockedAt !== null) throw deviceBlocked();
}
