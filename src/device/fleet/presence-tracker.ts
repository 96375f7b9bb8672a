import type { Logger } from "pino";
import type { Background } from "../../infra/background/background.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import type { Session } from "../../infra/database/session.ts";
import { type Sql, sql } from "../../infra/database/sql.ts";
import { type Presence, presenceAt, presenceCutoffs } from "../state/presence.ts";
import type { PresenceLog } from "./presence-log.ts";
import { type PresenceChange, PresenceWheel } from "./presence-wheel.ts";

/** What a {@link PresenceTracker} is made of. */
export interface PresenceTrackerParts {
  readonly database: Pick<Database, "pool">;
  readonly log: PresenceLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly heartbeatIntervalMs: number;
  /** The most devices to watch; 1,000,000 unless given. */
  readonly maxDevices?: number;
}

/** A device that was heard, and when. */
export interface Heard {
  readonly deviceId: string;
  readonly receivedAt: Date;
}

/**
 * Notices that devices come and go, and writes it to the {@link PresenceLog}. Each replica watches the devices that it
 * hears, and at its start those that were heard lately. A device that falls silent here is looked up before it is called
 * late, because it may have moved to another replica. What a replica that died would have noticed the others find in a sweep
 * over the whole fleet: see {@link PresenceTracker.sweep}.
 */
export class PresenceTracker {
  readonly #parts: PresenceTrackerParts;
  readonly #pool: Session;
  readonly #wheel: PresenceWheel;
  /** Noticed, not written yet. */
  #changes: PresenceChange[] = [];
  #lost = 0;
  /** Up to here, in milliseconds since 1970, sweeps have looked for changes that nobody noticed. */
  #sweptToMs: number;
  readonly #round: Round;
  #closed = false;

  constructor(parts: PresenceTrackerParts) {
    this.#parts = parts;
    this.#pool = parts.database.pool;
    this.#wheel = new PresenceWheel(parts.heartbeatIntervalMs, parts.maxDevices ?? 1_000_000);
    this.#sweptToMs = parts.clock.now().getTime();
    const { clock, logger } = parts;
    this.#round = new Round({ name: "presence", everyMs: tickMs, work: () => this.#tick(), clock, logger });
  }

  /** How many devices it watches. */
  get size(): number {
    return this.#wheel.size;
  }

  /** Begins to watch, also the devices that are not offline now. */
  async start(background: Background): Promise<void> {
    const nowMs = this.#parts.clock.now().getTime();
    const { lateFrom } = presenceCutoffs(nowMs, this.#parts.heartbeatIntervalMs);
    let after: string | undefined = firstId;
    while (after !== undefined && !this.#closed) {
      const rows: readonly SeenRow[] = await this.#seen(recentSql, [
        new Date(lateFrom * 1_000),
        after,
        pageRows,
      ]);
      for (const { device_id, seen } of rows) {
        if (!this.#wheel.add(device_id, Number(seen), nowMs)) this.#lost++;
      }
      after = rows.length < pageRows ? undefined : rows.at(-1)?.device_id;
    }
    background.add(this.#round);
    this.#round.start();
  }

  /**
   * Looks up how devices that it does not watch stood before these heartbeats. Call it before they are written. Rejects
   * if the database cannot be asked. What a device had on its way when it was retired makes it no less retired.
   */
  async prepare(heard: readonly Heard[]): Promise<void> {
    const strangers = heard.filter(({ deviceId }) => !this.#wheel.has(deviceId));
    if (strangers.length === 0) return;
    const rows = await this.#seen(inServiceSql, [strangers.map(({ deviceId }) => deviceId)]);
    const before = new Map(
      rows.map(({ device_id, seen }) => [device_id, seen === null ? undefined : Number(seen)]),
    );
    const nowMs = this.#parts.clock.now().getTime();
    const cutoffs = presenceCutoffs(nowMs, this.#parts.heartbeatIntervalMs);
    for (const { deviceId, receivedAt } of strangers) {
      if (!before.has(deviceId)) continue;
      const seenBefore = before.get(deviceId);
      const seenSecond = Math.floor(receivedAt.getTime() / 1_000);
      const previous: Presence = seenBefore === undefined ? "unknown" : presenceAt(seenBefore, cutoffs);
      const presence = presenceAt(seenSecond, cutoffs);
      if (seenBefore !== undefined && seenSecond <= seenBefore && !isToCome(seenBefore, nowMs)) continue;
      if (!this.#wheel.add(deviceId, seenSecond, nowMs)) this.#lost++;
      else if (presence !== previous) this.#note({ deviceId, presence, previous, seenSecond });
    }
  }

  /** Takes note of devices whose heartbeats are written. */
  heard(heard: readonly Heard[]): void {
    for (const { deviceId, receivedAt } of heard) {
      const change = this.#wheel.heard(deviceId, Math.floor(receivedAt.getTime() / 1_000));
      if (change !== undefined) this.#note(change);
    }
  }

  /** Turns the wheel and writes what was noticed. Happens by itself every second. */
  tick(): Promise<void> {
    return this.#round.run();
  }

  /**
   * Notes the devices that fell late or offline, by their last sign of life in the database, while the replica that watched
   * them died. Reads the whole fleet (400,000 devices in 0.05 to 0.5 s), and happens by itself about once an interval; devices
   * that are watched here, or in the log already, are left out.
   */
  async sweep(): Promise<void> {
    const { clock, heartbeatIntervalMs } = this.#parts;
    // Whoever watches a device is given the time to say it first.
    const toMs = clock.now().getTime() - sweepGraceMs;
    if (toMs <= this.#sweptToMs) return;
    const from = presenceCutoffs(this.#sweptToMs, heartbeatIntervalMs);
    const to = presenceCutoffs(toMs, heartbeatIntervalMs);
    const rows = await this.#seen(silentSql, [from.onlineFrom, to.onlineFrom, from.lateFrom, to.lateFrom]);
    this.#sweptToMs = toMs;
    for (const { device_id: deviceId, seen } of rows) {
      if (this.#wheel.has(deviceId)) continue;
      const isOffline = Number(seen) < to.lateFrom;
      const [presence, previous] = isOffline ? (["offline", "late"] as const) : (["late", "online"] as const);
      this.#note({ deviceId, presence, previous, seenSecond: Number(seen) });
    }
  }

  /** Stops watching. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#round.close();
  }

  /** Changes of presence that cannot be written down count as lost. */
  async #tick(): Promise<void> {
    const silent = this.#wheel.turn(this.#parts.clock.now().getTime());
    for (let start = 0; start < silent.length; start += pageRows) {
      for (const change of await this.#confirmed(silent.slice(start, start + pageRows))) this.#note(change);
    }
    if (this.#sweepIsDue()) await this.sweep();
    if (this.#changes.length === 0 && this.#lost === 0) return;
    const changes = this.#changes;
    const lost = this.#lost;
    this.#changes = [];
    this.#lost = 0;
    await this.#parts.log.append(changes, this.#parts.clock.now(), lost).catch((error: unknown) => {
      this.#lost += lost + changes.length;
      throw error;
    });
  }

  #sweepIsDue(): boolean {
    const { clock, heartbeatIntervalMs } = this.#parts;
    const sinceMs = clock.now().getTime() - sweepGraceMs - this.#sweptToMs;
    // After a clock that was set back there is nothing to look for until it has caught up; one that is far behind was wrong.
    if (sinceMs < -maxSweepMs) this.#sweptToMs += sinceMs;
    return sinceMs >= Math.min(Math.max(heartbeatIntervalMs, minSweepMs), maxSweepMs);
  }

  /** Without the devices that another replica has heard since, or that are retired. */
  async #confirmed(changes: readonly PresenceChange[]): Promise<PresenceChange[]> {
    let rows: readonly SeenRow[];
    try {
      rows = await this.#seen(seenSql, [changes.map(({ deviceId }) => deviceId)]);
    } catch (error) {
      this.#lost += changes.length;
      throw error;
    }
    const seen = new Map(rows.map((row) => [row.device_id, Number(row.seen)]));
    const nowMs = this.#parts.clock.now().getTime();
    return changes.filter(({ deviceId, seenSecond }) => {
      const stored = seen.get(deviceId);
      if (stored !== undefined && (stored <= seenSecond || isToCome(stored, nowMs))) return true;
      this.#wheel.forget(deviceId);
      return false;
    });
  }

  #note(change: PresenceChange): void {
    // While the database is away only the number of changes grows.
    if (this.#changes.length >= maxNoted) {
      this.#changes.shift();
      this.#lost++;
    }
    this.#changes.push(change);
  }

  async #seen(statement: Sql, values: readonly unknown[]): Promise<readonly SeenRow[]> {
    return await this.#pool.query<SeenRow>(statement, values);
  }
}

/** Whether a second is still to come, since the clock was set back after somebody wrote it. */
function isToCome(second: number, nowMs: number): boolean {
  return second > nowMs / 1_000 + clockSlackSeconds;
}

/** By so much replicas may differ. */
const clockSlackSeconds = 5;

const tickMs = 1_000;

/** More are not listed anyway. */
const maxNoted = 2_000;

/** Devices that one sweep takes note of: more are not listed anyway. */
const maxSwept = 5_000;

/** Devices asked about at once: some ten milliseconds for the server. */
const pageRows = 5_000;

const firstId = "00000000-0000-0000-0000-000000000000";

/** How often to sweep, at intervals shorter or longer than that. */
const minSweepMs = 5_000;
const maxSweepMs = 60_000;

/** How long others have to write down what they noticed, which they do once a second. */
const sweepGraceMs = 5_000;

interface SeenRow {
  readonly device_id: string;
  /** In seconds since 1970; null if it was never heard. */
  readonly seen: string | null;
}

const seenColumns = sql`device_id, floor(date_part('epoch', last_seen_at))::bigint AS seen`;

const seenSql = sql`SELECT ${seenColumns} FROM device_state WHERE device_id = ANY($1::uuid[]) AND in_service`;

const inServiceSql = sql`
  SELECT d.id AS device_id, floor(date_part('epoch', s.last_seen_at))::bigint AS seen
    FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
   WHERE d.id = ANY($1::uuid[]) AND NOT d.is_deleted`;

/**
 * Who was last heard before $2 and not before $1 became late meanwhile; before $4 and not before $3, offline. The log's
 * times are whole seconds.
 */
const silentSql = sql`
  SELECT device_id, floor(date_part('epoch', last_seen_at))::bigint AS seen
    FROM device_state s
   WHERE in_service
     AND (last_seen_at >= to_timestamp($1) AND last_seen_at < to_timestamp($2)
       OR last_seen_at >= to_timestamp($3) AND last_seen_at < to_timestamp($4))
     AND NOT EXISTS (
       SELECT FROM presence_changes c
        WHERE c.device_id = s.device_id AND c.last_seen_at = date_trunc('second', s.last_seen_at)
          AND c.presence = CASE WHEN s.last_seen_at < to_timestamp($4) THEN 'offline' ELSE 'late' END)
   LIMIT ${maxSwept}`;

const recentSql = sql`SELECT ${seenColumns} FROM device_state
  WHERE last_seen_at >= $1 AND in_service AND device_id > $2 ORDER BY device_id LIMIT $3`;
