import type { EntityManager } from "@mikro-orm/postgresql";
import type { Logger } from "pino";
import type { AuditLog } from "../../access/audit-log.ts";
import { BatchWriter } from "../../infra/background/batch-writer.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { isDataError } from "../../infra/database/errors.ts";
import type { Pool } from "../../infra/database/pool.ts";
import { type ReadSession, type Session, sessionOf } from "../../infra/database/session.ts";
import { prepared, type Sql, sql } from "../../infra/database/sql.ts";
import type { DeviceMetrics } from "../../infra/metrics.ts";
import { SecondChanceCache } from "../../infra/second-chance-cache.ts";
import type { BootObserver, BootSighting } from "../state/boot-sighting.ts";
import type { DeviceChanges } from "../state/device-changes.ts";
import { type BootHistory, noBoots, withSighting } from "./boot-history.ts";

/** What {@link CloneWatch} is made of. */
export interface CloneWatchParts {
  readonly database: Pick<Database, "transact" | "pool">;
  readonly audit: AuditLog;
  readonly changes: Pick<DeviceChanges, "publishUpdates">;
  readonly metrics: Pick<DeviceMetrics, "clonesSuspected">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly rules: CloneRules;
}

/** When a device is suspected, as the settings say. */
interface CloneRules {
  /** How many returns of boots; 0 suspects nobody. */
  readonly returns: number;
  /** Within how many milliseconds. */
  readonly windowMs: number;
  /** Whether a suspected device is put in quarantine. */
  readonly quarantine: boolean;
}

/**
 * Sees two live boots of one identity, over all replicas: whoever copied a device's credential runs beside it, and the two are heard in
 * turns. It writes down under which boots devices are heard, and judges by {@link withSighting}; a device that is suspected is on
 * the audit log, in the metrics and in its record, until an operator clears it.
 */
export class CloneWatch implements BootObserver, AsyncDisposable {
  readonly writer: BatchWriter<Sightings>;
  readonly #parts: CloneWatchParts;
  /** What was written lately: a device that goes on calling under the same boot is not written down each time. */
  readonly #written = new SecondChanceCache<Written>(maxRemembered);
  /** Devices that have had enough returns and are not marked yet: their sightings are written, so nothing names them again. */
  readonly #unmarked = new Set<string>();

  constructor(parts: CloneWatchParts) {
    this.#parts = parts;
    this.writer = new BatchWriter({
      name: "device_boots",
      keyOf: ({ deviceId }) => deviceId,
      merge: (newer, older) => ({
        ...older,
        sightings: [...older.sightings, ...newer.sightings].slice(0, maxSightings),
      }),
      write: (batch) => this.#write(batch),
      maxRows: 500,
      lingerMs: 1_000,
      maxWaiting: 100_000,
      isBadRow: isDataError,
      onOutage: "drop",
      clock: parts.clock,
      logger: parts.logger,
    });
  }

  sighted(sighting: BootSighting): void {
    const { deviceId, bootId, atMs } = sighting;
    if (bootId === "" || this.#parts.rules.returns === 0) return;
    const hasStart = sighting.startedAtMs !== undefined;
    const written = this.#written.get(deviceId);
    const isKnown = written?.bootId === bootId && (written.hasStart || !hasStart);
    if (isKnown && !sighting.beginsStream && atMs - written.atMs < repeatMs) return;
    this.#written.set(deviceId, { bootId, hasStart, atMs, used: false });
    this.writer.add({ deviceId, sightings: [sighting] });
  }

  /** Writes what waits now. */
  flush(): Promise<void> {
    return this.writer.flush();
  }

  /** Writes what waits and takes no more. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.writer.close();
  }

  async #write(batch: readonly Sightings[]): Promise<void> {
    const { database, logger, rules } = this.#parts;
    for (const id of await record(database.pool, batch, rules)) {
      if (this.#unmarked.size < maxUnmarked) this.#unmarked.add(id);
    }
    const suspects = [...this.#unmarked];
    if (suspects.length === 0) return;
    try {
      await this.#suspect(suspects);
      for (const id of suspects) this.#unmarked.delete(id);
    } catch (error) {
      // The sightings are written all the same: they are not to be counted as lost, nor halved until one is blamed.
      logger.warn({ err: error, devices: suspects.length }, "could not mark devices that may have clones");
    }
  }

  /** In a transaction of its own: it locks the devices, and nobody locks them behind their boots. */
  async #suspect(deviceIds: readonly string[]): Promise<void> {
    const { database, audit, changes, clock, logger, metrics, rules } = this.#parts;
    const found = await database.transact(
      async (em, session) => {
        const rows = await session.query<Suspect>(suspectSql, [deviceIds, clock.now(), rules.quarantine]);
        for (const { id, serial_number, boots } of rows) {
          await audit.record(em, {
            actor: "system:clone-watch",
            action: "device.suspect_clone",
            resourceType: "device",
            resourceId: id,
            reason: `two boots were heard in turns, ${rules.returns} times and more`,
            details: { serial_number, boot_ids: boots, quarantined: String(rules.quarantine) },
          });
        }
        return rows;
      },
      { retry: { attempts: 3 } },
    );
    for (const { id, serial_number: serialNumber, boots } of found) {
      metrics.clonesSuspected.inc();
      logger.warn({ deviceId: id, serialNumber, boots }, "a device is suspected to have a clone");
    }
    changes.publishUpdates(found.map(({ id }) => id));
  }
}

/** Forgets under which boots a device was heard, in the transaction that clears it: what made it suspect counts no more. */
export async function forgetBoots(em: EntityManager, deviceId: string): Promise<void> {
  await sessionOf(em).run(forgetSql, [deviceId]);
}

/** The sightings of a device that wait to be written, oldest first. */
interface Sightings {
  readonly deviceId: string;
  readonly sightings: readonly BootSighting[];
}

interface Written {
  readonly bootId: string;
  readonly hasStart: boolean;
  readonly atMs: number;
  used: boolean;
}

interface Suspect {
  readonly id: string;
  readonly serial_number: string;
  readonly boots: string;
}

/**
 * Adds sightings to what is known; returns which devices have had enough returns. Most say nothing new, which a read without locks
 * shows; the others are judged once more under the locks of their rows, by what other replicas have written meanwhile.
 */
async function record(pool: Pool, batch: readonly Sightings[], rules: CloneRules): Promise<string[]> {
  const seemNew = changedBy(batch, await readHistories(pool, readSql, batch), rules);
  if (seemNew.size === 0) return [];
  const news = batch.filter(({ deviceId }) => seemNew.has(deviceId));
  const changed = await pool.transact((session) => write(session, news, rules), { retry: { attempts: 3 } });
  return [...changed].filter(([, { returnsMs }]) => returnsMs.length >= rules.returns).map(([id]) => id);
}

/** Returns the histories that changed. */
async function write(
  session: Session,
  batch: readonly Sightings[],
  rules: CloneRules,
): Promise<ReadonlyMap<string, BootHistory>> {
  await session.run(insertSql, [batch.map(({ deviceId }) => deviceId)]);
  const changed = changedBy(batch, await readHistories(session, lockSql, batch), rules);
  const histories = [...changed.values()];
  if (changed.size > 0) {
    await session.run(updateSql, [
      [...changed.keys()],
      histories.map(({ boots }) => JSON.stringify(boots)),
      histories.map(({ returnsMs }) => JSON.stringify(returnsMs)),
    ]);
  }
  return changed;
}

async function readHistories(
  session: ReadSession,
  statement: Sql,
  batch: readonly Sightings[],
): Promise<ReadonlyMap<string, BootHistory>> {
  const rows = await session.query<BootsRow>(statement, [batch.map(({ deviceId }) => deviceId)]);
  return new Map(rows.map(({ device_id: id, boots, returns_ms: returnsMs }) => [id, { boots, returnsMs }]));
}

/** What becomes of the histories to which the sightings add something. */
function changedBy(
  batch: readonly Sightings[],
  known: ReadonlyMap<string, BootHistory>,
  { windowMs }: CloneRules,
): ReadonlyMap<string, BootHistory> {
  const changed = new Map<string, BootHistory>();
  for (const { deviceId, sightings } of batch) {
    const before = known.get(deviceId) ?? noBoots;
    const after = sightings.reduce(
      (history, sighting) => withSighting(history, sighting, { windowMs }),
      before,
    );
    if (after !== before) changed.set(deviceId, after);
  }
  return changed;
}

interface BootsRow {
  readonly device_id: string;
  readonly boots: BootHistory["boots"];
  readonly returns_ms: BootHistory["returnsMs"];
}

/** How long a device calls under one boot before that is written again: bounds how long two replicas that hear one boot each see nothing. */
const repeatMs = 10 * 60_000;

/** Some 150 bytes each. */
const maxRemembered = 100_000;

/** Of one device, within the second for which they wait. */
const maxSightings = 16;

/** They wait while devices cannot be marked. */
const maxUnmarked = 10_000;

const readSql = prepared(
  "device_boots_read",
  sql`SELECT device_id, boots, returns_ms FROM device_boots WHERE device_id = ANY($1::uuid[])`,
);

const insertSql = prepared(
  "device_boots_insert",
  sql`INSERT INTO device_boots (device_id) SELECT id FROM unnest($1::uuid[]) AS t (id) ORDER BY id ON CONFLICT DO NOTHING`,
);

const lockSql = prepared(
  "device_boots_lock",
  sql`SELECT device_id, boots, returns_ms FROM device_boots WHERE device_id = ANY($1::uuid[]) ORDER BY device_id FOR UPDATE`,
);

const updateSql = prepared(
  "device_boots_update",
  sql`
  UPDATE device_boots b SET boots = t.boots, returns_ms = t.returns_ms, updated_at = now()
    FROM unnest($1::uuid[], $2::jsonb[], $3::jsonb[]) AS t (id, boots, returns_ms) WHERE b.device_id = t.id`,
);

/** The rows are locked in the order of their ids, as everywhere. One that is suspected already, or retired, stays as it is. */
const suspectSql = prepared(
  "device_suspect_clones",
  sql`
  UPDATE devices d SET clone_suspected_at = $2::timestamptz, updated_at = now(),
         quarantined_at = CASE WHEN $3::boolean THEN coalesce(d.quarantined_at, $2::timestamptz) ELSE d.quarantined_at END
    FROM (SELECT id FROM devices WHERE id = ANY($1::uuid[]) AND clone_suspected_at IS NULL AND NOT is_deleted
           ORDER BY id FOR UPDATE) l
   WHERE d.id = l.id
  RETURNING d.id, d.serial_number,
    (SELECT coalesce(string_agg(boot->>'id', ', '), '') FROM device_boots b, jsonb_array_elements(b.boots) AS boot
      WHERE b.device_id = d.id) AS boots`,
);

const forgetSql = sql`DELETE FROM device_boots WHERE device_id = $1`;
