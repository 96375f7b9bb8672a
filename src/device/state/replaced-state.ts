import type { EntityManager } from "@mikro-orm/postgresql";
import { readings } from "./readings.ts";

/** What is known of the board that a device is now. */
export interface NewBoard {
  readonly deviceId: string;
  readonly firmwareVersion: string;
  /** The epoch that it counts its heartbeats in. What comes late of an earlier one changes nothing any more. */
  readonly epoch: number;
}

/**
 * Forgets what the board before had said: its readings, boot, components and security counter are not those of the new one,
 * whose version is the one that it enrolled with. When the device was last heard from stays.
 */
export async function forgetState(em: EntityManager, board: NewBoard): Promise<void> {
  await em.execute(forgetSql, [board.firmwareVersion, board.epoch, board.deviceId]);
}

const forgetSql = `
  UPDATE device_state SET firmware_version = ?, epoch = ?, last_sequence = 0, last_device_time = NULL, boot_id = '',
    uptime_ms = 0, security_counter = 0, image_sha256 = NULL, components = NULL, network_type = NULL,
    ${readings.map(({ column }) => `${column} = NULL`).join(", ")}, updated_at = now()
   WHERE device_id = ?`;
