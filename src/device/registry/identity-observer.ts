import type { EntityManager } from "@mikro-orm/postgresql";
import type { DeviceSnapshot } from "../state/device-snapshot.ts";

/**
 * Whoever must act in the same transaction when a device is no longer what it was, for example to ask again whether its
 * open update fits. Must not commit; a failure undoes the change.
 */
export interface DeviceIdentityObserver {
  /** Another board takes the place of the one under this serial number. The device's record is still the old one. */
  boardReplaced(em: EntityManager, deviceId: string): Promise<void>;
  /** An operator said that the device is of another type, model or product. It had been registered as `before`. */
  identityCorrected(em: EntityManager, before: DeviceSnapshot, after: DeviceSnapshot): Promise<void>;
}
