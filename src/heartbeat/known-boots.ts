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
   * Those of some heartbeats, one of a device each, of whose boot nothing is stored but for what has gone past them. None that
   * names no boot: nothing tells them apart then. Looks all of them up at once.
   */
  async newOnes(heartbeats: readonly HeartbeatRecord[]): Promise<ReadonlySet<HeartbeatRecord>> {
    const unknown = heartbeats.filter(
      ({ deviceId, bootId }) => bootId !== "" && this.#known.get(deviceId)?.bootId !== bootId,
    );
    if (unknown.length === 0) return new Set();
    const rows = await this.#pool.query<{ id: string }>(storedBootsSql, [
      unknown.map(({ deviceId }) => deviceId),
      unknown.map(({ bootId }) => bootId),
      unknown.map(({ sequence }) => sequence),
      maxLookedAt,
    ]);
    const stored = new Set(rows.map(({ id }) => id));
    for (const { deviceId, bootId } of unknown)
      if (stored.has(deviceId)) this.#known.set(deviceId, { bootId, used: false });
    return new Set(unknown.filter(({ deviceId }) => !stored.has(deviceId)));
  }
}

/**
 * A device sends again what was not acknowledged, and what it does not know to be acknowledged cannot be older than this many
 * heartbeats: acknowledgements go on with each. Bounds what a device can cost that makes up boots.
 */
const maxLookedAt = 5_000;

const maxRemembered = 10_000;

/** From the newest on, so that a heartbeat that is sent again is found at once. */
const storedBootsSql = prepared(
  "heartbeat_boots_stored",
  sql`
  SELECT t.id FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS t (id, boot_id, sequence)
  CROSS JOIN LATERAL (
    SELECT FROM (
      SELECT boot_id, sequence FROM device_heartbeats WHERE device_id = t.id ORDER BY received_at DESC LIMIT $4
    ) AS newest WHERE boot_id = t.boot_id AND sequence <= t.sequence LIMIT 1
  ) AS found`,
);
