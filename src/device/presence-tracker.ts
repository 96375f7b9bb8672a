import type { Pool } from "pg";
import type { Logger } from "pino";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { type Presence, presenceAt, presenceCutoffs } from "./presence.ts";
import type { PresenceLog } from "./presence-log.ts";
import { type PresenceChange, PresenceWheel } from "./presence-wheel.ts";

/** What a {@link PresenceTracker} is made of. */
export interface PresenceTrackerParts {
  readonly database: Pick<Database, "adminPool">;
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
 * hears, and at its start those that were heard lately: so what a replica that died watched is noticed by its successor. A
 * device that falls silent here is looked up before it is called late, because it may have moved to another replica.
 */
export class PresenceTracker {
  readonly #parts: PresenceTrackerParts;
  readonly #pool: Pool;
  readonly #wheel: PresenceWheel;
  /** Noticed, not written yet. */
  #changes: PresenceChange[] = [];
  #lost = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(parts: PresenceTrackerParts) {
    this.#parts = parts;
    this.#pool = parts.database.adminPool;
    this.#wheel = new PresenceWheel(parts.heartbeatIntervalMs, parts.maxDevices ?? 1_000_000);
  }

  /** How many devices it watches. */
  get size(): number {
    return this.#wheel.size;
  }

  /** Begins to watch, also the devices that are not offline now. */
  async start(): Promise<void> {
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
    this.#schedule();
  }

  /**
   * Looks up how devices that it does not watch stood before these heartbeats. Call it before they are written. Rejects
   * if the database cannot be asked.
   */
  async prepare(heard: readonly Heard[]): Promise<void> {
    const strangers = heard.filter(({ deviceId }) => !this.#wheel.has(deviceId));
    if (strangers.length === 0) return;
    const rows = await this.#seen(seenSql, [strangers.map(({ deviceId }) => deviceId)]);
    const before = new Map(rows.map((row) => [row.device_id, Number(row.seen)]));
    const nowMs = this.#parts.clock.now().getTime();
    const cutoffs = presenceCutoffs(nowMs, this.#parts.heartbeatIntervalMs);
    for (const { deviceId, receivedAt } of strangers) {
      const seenBefore = before.get(deviceId);
      const seenSecond = Math.floor(receivedAt.getTime() / 1_000);
      const previous: Presence = seenBefore === undefined ? "unknown" : presenceAt(seenBefore, cutoffs);
      const presence = presenceAt(seenSecond, cutoffs);
      if (seenBefore !== undefined && seenSecond <= seenBefore) continue;
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
  async tick(): Promise<void> {
    this.#running ??= this.#tick().finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  /** Stops watching. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      void this.tick().finally(() => this.#schedule());
    }, tickMs);
    this.#timer.unref();
  }

  async #tick(): Promise<void> {
    try {
      const silent = this.#wheel.turn(this.#parts.clock.now().getTime());
      for (let start = 0; start < silent.length; start += pageRows) {
        for (const change of await this.#confirmed(silent.slice(start, start + pageRows))) this.#note(change);
      }
      if (this.#changes.length === 0 && this.#lost === 0) return;
      const changes = this.#changes;
      const lost = this.#lost;
      this.#changes = [];
      this.#lost = 0;
      await this.#parts.log.append(changes, this.#parts.clock.now(), lost).catch((error: unknown) => {
        this.#lost += lost + changes.length;
        throw error;
      });
    } catch (error) {
      this.#parts.logger.warn(
        { err: error },
        "changes of presence could not be written down; they count as lost",
      );
    }
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
    return changes.filter(({ deviceId, seenSecond }) => {
      const stored = seen.get(deviceId);
      if (stored !== undefined && stored <= seenSecond) return true;
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

  async #seen(text: string, values: readonly unknown[]): Promise<readonly SeenRow[]> {
    return (await this.#pool.query<SeenRow>(text, [...values])).rows;
  }
}

const tickMs = 1_000;

/** More are not listed anyway. */
const maxNoted = 2_000;

/** Devices asked about at once: some ten milliseconds for the server. */
const pageRows = 5_000;

const firstId = "00000000-0000-0000-0000-000000000000";

interface SeenRow {
  readonly device_id: string;
  readonly seen: string;
}

const seenColumns = "device_id, floor(date_part('epoch', last_seen_at))::bigint AS seen";

const seenSql = `SELECT ${seenColumns} FROM device_state WHERE device_id = ANY($1::uuid[]) AND in_service`;

const recentSql = `SELECT ${seenColumns} FROM device_state
  WHERE last_seen_at >= $1 AND in_service AND device_id > $2 ORDER BY device_id LIMIT $3`;
