import { withRetry } from "../../infra/database/errors.ts";
import { Parameters } from "../../infra/database/parameters.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { presenceCutoffs } from "../state/presence.ts";
import { lateFromSql, onlineFromSql, type PresenceMoment } from "../state/presence-sql.ts";

/** A device in service, when it was last heard and how often it is expected. */
export interface SeenDevice {
  readonly deviceId: string;
  /** Since 1970. */
  readonly seenSecond: number;
  /** Undefined: as often as the service's setting says. */
  readonly intervalMs: number | undefined;
}

/** A device that may never have been heard. */
export interface KnownDevice {
  readonly seenSecond: number | undefined;
  readonly intervalMs: number | undefined;
}

/** When devices in service were last heard, by any replica. */
export class SeenDevices {
  readonly #pool: Session;

  constructor(pool: Session) {
    this.#pool = pool;
  }

  /** Of these devices, those that were heard. */
  async seen(deviceIds: readonly string[]): Promise<readonly SeenDevice[]> {
    return (await this.#pool.query<SeenRow>(seenSql, [deviceIds])).map(seenDevice);
  }

  /** These devices by id. */
  async inService(deviceIds: readonly string[]): Promise<ReadonlyMap<string, KnownDevice>> {
    const rows = await this.#pool.query<KnownRow>(inServiceSql, [deviceIds]);
    return new Map(
      rows.map(({ device_id, seen, interval }) => [
        device_id,
        { seenSecond: seen === null ? undefined : Number(seen), intervalMs: intervalOf(interval) },
      ]),
    );
  }

  /** The next devices after an id, in the order of their ids, that are not offline. */
  async present(moment: PresenceMoment, after: string, limit: number): Promise<readonly SeenDevice[]> {
    const parameters = new Parameters();
    const add: Parameters["add"] = (value, type) => parameters.add(value, type);
    const statement = sql`SELECT ${seenColumns} FROM device_state s
      WHERE last_seen_at >= ${lateFromSql(moment, add)} AND in_service AND device_id > ${add(after, "uuid")}
      ORDER BY device_id LIMIT ${limit}`;
    return (await this.#pool.query<SeenRow>(statement, parameters.values)).map(seenDevice);
  }

  /** Lets devices that were heard at a time which is still to come count as heard now, after the clock was set back. */
  async setBack({ nowMs, heartbeatIntervalMs }: PresenceMoment): Promise<void> {
    const { seenUntil } = presenceCutoffs(nowMs, heartbeatIntervalMs);
    const [tooLate, now] = [new Date((seenUntil + 1) * 1_000), new Date(nowMs)];
    let after: string | undefined = firstId;
    while (after !== undefined) {
      const values = [tooLate, now, after];
      const query = () => this.#pool.query<{ id: string }>(setBackSql, values);
      const page: readonly { id: string }[] = await withRetry(query, { attempts: 3 });
      after =
        page.length < setBackRows
          ? undefined
          : page
              .map(({ id }) => id)
              .toSorted()
              .at(-1);
    }
  }

  /** Who became late or offline between two moments, and is not in the log with that. */
  async fellSilent(from: PresenceMoment, to: PresenceMoment, limit: number): Promise<readonly SeenDevice[]> {
    const parameters = new Parameters();
    const add: Parameters["add"] = (value, type) => parameters.add(value, type);
    const offlineBefore = lateFromSql(to, add);
    // The log's times are whole seconds.
    const statement = sql`
      SELECT ${seenColumns}
        FROM device_state s
       WHERE in_service
         AND (last_seen_at >= ${onlineFromSql(from, add)} AND last_seen_at < ${onlineFromSql(to, add)}
           OR last_seen_at >= ${lateFromSql(from, add)} AND last_seen_at < ${offlineBefore})
         AND NOT EXISTS (
           SELECT FROM presence_changes c
            WHERE c.device_id = s.device_id AND c.last_seen_at = date_trunc('second', s.last_seen_at)
              AND c.presence = CASE WHEN s.last_seen_at < ${offlineBefore} THEN 'offline' ELSE 'late' END)
       LIMIT ${limit}`;
    return (await this.#pool.query<SeenRow>(statement, parameters.values)).map(seenDevice);
  }
}

interface SeenRow {
  readonly device_id: string;
  readonly seen: string;
  readonly interval: string | null;
}

interface KnownRow {
  readonly device_id: string;
  readonly seen: string | null;
  readonly interval: string | null;
}

function seenDevice({ device_id, seen, interval }: SeenRow): SeenDevice {
  return { deviceId: device_id, seenSecond: Number(seen), intervalMs: intervalOf(interval) };
}

function intervalOf(interval: string | null): number | undefined {
  return interval === null ? undefined : Number(interval);
}

/** Some ten milliseconds, in which newer readings of these devices wait. */
const setBackRows = 1_000;

const setBackSql = sql`
  WITH page AS MATERIALIZED (
    SELECT device_id FROM device_state WHERE last_seen_at >= $1 AND device_id > $3::uuid
     ORDER BY device_id LIMIT ${setBackRows} FOR UPDATE
  )
  UPDATE device_state s SET last_seen_at = $2 FROM page WHERE s.device_id = page.device_id RETURNING s.device_id AS id`;

const firstId = "00000000-0000-0000-0000-000000000000";

const seenColumn = sql`floor(date_part('epoch', s.last_seen_at))::bigint AS seen`;

const seenColumns = sql`s.device_id, ${seenColumn}, s.expected_interval_ms AS interval`;

const seenSql = sql`SELECT ${seenColumns} FROM device_state s WHERE device_id = ANY($1::uuid[]) AND in_service`;

const inServiceSql = sql`
  SELECT d.id AS device_id, ${seenColumn}, expected_interval_of(d) AS interval
    FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
   WHERE d.id = ANY($1::uuid[]) AND NOT d.is_deleted`;
