import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import type { Session } from "../infra/database/session.ts";
import { prepared, sql } from "../infra/database/sql.ts";
import { SecondChanceCache } from "../infra/second-chance-cache.ts";

/**
 * Tells heartbeats that are sent again from those of a counter that began again: both lie at or below the device's mark, but
 * the first were stored under the same boot, and the others come from a boot of which nothing is stored.
 */
export class KnownBoots {
  readonly #pool: Session;
  /** The boot of devices that repeated themselves before: a device that does so time and again is not looked up each time. */
  readonly #known = new SecondChanceCache<{ readonly bootId: string; used: boolean }>(maxRemembered);

  constructor(pool: Session) {
    this.#pool = pool;
  }

  /**
   * Whether nothing is stored of the boot that a heartbeat is of, but for what has gone past it. False if it names none: nothing tells them apart then.
   */
  async isNew({ deviceId, bootId, sequence }: HeartbeatRecord): Promise<boolean> {
    if (bootId === "" || this.#known.get(deviceId)?.bootId === bootId) return false;
    const rows = await this.#pool.query(isStoredSql, [deviceId, bootId, sequence, maxLookedAt]);
    if (rows.length > 0) this.#known.set(deviceId, { bootId, used: false });
    return rows.length === 0;
  }
}

/**
 * A device sends again what was not acknowledged, and what it does not know to be acknowledged cannot be older than this many
 * heartbeats: acknowledgements go on with each. Bounds what a device can cost that makes up boots.
 */
const maxLookedAt = 5_000;

const maxRemembered = 10_000;

/** From the newest on, so that a heartbeat that is sent again is found at once. */
const isStoredSql = prepared(
  "heartbeat_boot_is_stored",
  sql`
  SELECT 1 FROM (
    SELECT boot_id, sequence FROM device_heartbeats WHERE device_id = $1::uuid ORDER BY received_at DESC LIMIT $4
  ) AS newest WHERE boot_id = $2 AND sequence <= $3 LIMIT 1`,
);
