import type { EntityManager } from "@mikro-orm/postgresql";
import { sessionOf } from "../../infra/database/session.ts";
import { identifier, joined, sql } from "../../infra/database/sql.ts";
import { readings } from "./readings.ts";

/** What is known of the board that a device is now. */
export interface NewBoard {
  readonly deviceId: string;
  readonly firmwareVersion: string;
  /** The epoch that it counts its heartbeats in. What comes late of an earlier one changes nothing any more. */
  readonly epoch: number;
  /** Whether the board before sent heartbeats: the last may not be in device_state yet, and must not come there any more. */
  readonly heardBefore: boolean;
}

/**
 * Forgets what the board before had said: its readings, boot, components and security counter are not those of the new one,
 * whose version is the one that it enrolled with. When the device was last heard from stays.
 */
export async function forgetState(em: EntityManager, board: NewBoard): Promise<void> {
  await sessionOf(em).run(forgetSql, [board.firmwareVersion, board.epoch, board.deviceId, board.heardBefore]);
}

const forgotten = readings.map(({ column }) => sql`${identifier(column)} = NULL`);

const forgetSql = sql`
  INSERT INTO device_state (device_id, firmware_version, epoch, last_seen_at, last_sequence, boot_id, uptime_ms,
    security_counter)
  SELECT d.id, $1::text, $2::int, now(), 0, '', 0, 0 FROM devices d
   WHERE d.id = $3::uuid AND ($4::boolean OR EXISTS (SELECT FROM device_state s WHERE s.device_id = d.id))
  ON CONFLICT (device_id) DO UPDATE SET firmware_version = excluded.firmware_version, epoch = excluded.epoch,
    last_sequence = 0, last_device_time = NULL, boot_id = '', uptime_ms = 0, security_counter = 0, image_sha256 = NULL,
    components = NULL, network_type = NULL, ${joined(forgotten, sql`, `)},
    updated_at = now()`;
