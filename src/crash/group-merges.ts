import type { AuditLog } from "../access/audit-log.ts";
import { type Severity, worseSeverity } from "../device/state/severity.ts";
import { illegalTransition, invalidArgument, notFound } from "../errors.ts";
import type { Database } from "../infra/database/database.ts";
import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { isHigherVersion } from "./version-order.ts";

/** What {@link GroupMerges} is made of. */
export interface GroupMergesParts {
  readonly database: Pick<Database, "transact">;
  readonly audit: AuditLog;
}

/**
 * Makes error groups one, and takes them apart again. A merged group goes on counting what is its own; the group that stands
 * for all counts it as well. So to split is to subtract, and nothing is lost by either.
 */
export class GroupMerges {
  readonly #parts: GroupMergesParts;

  constructor(parts: GroupMergesParts) {
    this.#parts = parts;
  }

  /**
   * Merges groups, with those merged into them before, into another. Those that are there already stay. Throws `NOT_FOUND`, and
   * `ILLEGAL_TRANSITION` if any of them is merged into yet another.
   */
  async merge(verb: {
    readonly actor: string;
    readonly id: string;
    readonly ids: readonly string[];
    readonly reason: string;
  }): Promise<void> {
    const { actor, id, ids, reason } = verb;
    if (ids.includes(id)) throw invalidArgument("merged_ids", "a group cannot be merged into itself");
    await this.#parts.database.transact(
      async (em, session) => {
        const groups = await lock(session, [id, ...ids]);
        const whole = required(groups, id);
        if (whole.merged_into !== null) throw alreadyMerged("merge");
        for (const mergedId of ids) {
          const { merged_into: into } = required(groups, mergedId);
          if (into === id) continue;
          if (into !== null) throw alreadyMerged("merge");
          for (const part of await partsOf(session, mergedId)) {
            await release(session, part, mergedId);
            await absorb(session, part, id);
          }
          await absorb(session, mergedId, id);
          await this.#parts.audit.record(em, {
            actor,
            action: "error_group.merge",
            resourceType: "error_group",
            resourceId: mergedId,
            reason,
            details: { merged_into: id },
          });
        }
      },
      { retry: { attempts: maxAttempts } },
    );
  }

  /** Takes a group out of the one that it is merged into. Throws `NOT_FOUND`, and `ILLEGAL_TRANSITION` if it is in none. */
  async split({
    actor,
    id,
    reason,
  }: {
    readonly actor: string;
    readonly id: string;
    readonly reason: string;
  }): Promise<void> {
    await this.#parts.database.transact(
      async (em, session) => {
        const { merged_into: into } = required(await lock(session, [id]), id);
        if (into === null) throw illegalTransition("error group", "split", "NOT_MERGED", ["merge"]);
        await release(session, id, into);
        await this.#parts.audit.record(em, {
          actor,
          action: "error_group.split",
          resourceType: "error_group",
          resourceId: id,
          reason,
          details: { merged_into: into },
        });
      },
      { retry: { attempts: maxAttempts } },
    );
  }
}

/** The collector locks the same rows. */
const maxAttempts = 5;

interface LockedRow {
  readonly id: string;
  readonly merged_into: string | null;
}

interface TotalsRow {
  readonly severity: Severity;
  readonly fatal: boolean;
  readonly last_seen_version: string;
}

function required(groups: readonly LockedRow[], id: string): LockedRow {
  const group = groups.find((each) => each.id === id);
  if (group === undefined) throw notFound("error group", id);
  return group;
}

function alreadyMerged(verb: string): Error {
  return illegalTransition("error group", verb, "MERGED", ["split"]);
}

/** Locks groups with all that belongs to them. */
async function lock(session: Session, ids: readonly string[]): Promise<LockedRow[]> {
  return await session.query<LockedRow>(lockSql, [JSON.stringify(ids)]);
}

async function partsOf(session: Session, id: string): Promise<string[]> {
  return (await session.query<{ id: string }>(partsSql, [id])).map((row) => row.id);
}

/** Adds what a group counted to another, and says that it belongs there. */
async function absorb(session: Session, part: string, whole: string): Promise<void> {
  await session.run(addCountsSql, [part, whole]);
  await session.run(addDevicesSql, [part, whole]);
  const ours = await totalsOf(session, whole);
  const theirs = await totalsOf(session, part);
  const severity = worseSeverity(ours.severity, theirs.severity);
  const version = isHigherVersion(theirs.last_seen_version, ours.last_seen_version)
    ? theirs.last_seen_version
    : ours.last_seen_version;
  await session.run(addTotalsSql, [part, whole, severity, ours.fatal || theirs.fatal, version]);
  await session.run(mergedSql, [part, whole]);
}

/** Takes what a group counted out of the one that it belongs to. */
async function release(session: Session, part: string, whole: string): Promise<void> {
  await session.run(subtractCountsSql, [part, whole]);
  await session.run(forgetCountsSql, [whole]);
  await session.run(subtractDevicesSql, [part, whole]);
  await session.run(forgetDevicesSql, [whole]);
  await session.run(subtractTotalsSql, [part, whole]);
  await session.run(mergedSql, [part, null]);
}

async function totalsOf(session: Session, id: string): Promise<TotalsRow> {
  const [row] = await session.query<TotalsRow>(totalsSql, [id]);
  if (row === undefined) throw notFound("error group", id);
  return row;
}

const lockSql = sql`
  WITH named AS (SELECT jsonb_array_elements_text($1::jsonb)::uuid AS id)
  SELECT g.id, g.merged_into FROM error_groups g
  WHERE g.id IN (SELECT id FROM named) OR g.merged_into IN (SELECT id FROM named)
    OR g.id IN (SELECT p.merged_into FROM error_groups p WHERE p.id IN (SELECT id FROM named))
  ORDER BY g.id FOR UPDATE`;

const partsSql = sql`SELECT id FROM error_groups WHERE merged_into = $1 ORDER BY id`;

const totalsSql = sql`SELECT severity, fatal, last_seen_version FROM error_groups WHERE id = $1`;

const addCountsSql = sql`
  INSERT INTO error_counts AS c (group_id, day, firmware_version, device_type, occurrence_count)
  SELECT $2, day, firmware_version, device_type, occurrence_count FROM error_counts WHERE group_id = $1
  ON CONFLICT (group_id, day, firmware_version, device_type)
    DO UPDATE SET occurrence_count = c.occurrence_count + excluded.occurrence_count`;

const addDevicesSql = sql`
  INSERT INTO error_group_devices AS d (group_id, device_id, occurrence_count, first_seen_at, last_seen_at,
    last_seen_version, kept_hour, kept_count)
  SELECT $2, device_id, occurrence_count, first_seen_at, last_seen_at, last_seen_version, kept_hour, kept_count
  FROM error_group_devices WHERE group_id = $1
  ON CONFLICT (group_id, device_id) DO UPDATE SET occurrence_count = d.occurrence_count + excluded.occurrence_count,
    first_seen_at = least(d.first_seen_at, excluded.first_seen_at),
    last_seen_at = greatest(d.last_seen_at, excluded.last_seen_at),
    last_seen_version = CASE WHEN excluded.last_seen_at > d.last_seen_at THEN excluded.last_seen_version
      ELSE d.last_seen_version END`;

const addTotalsSql = sql`
  UPDATE error_groups w SET occurrence_count = w.occurrence_count + p.occurrence_count,
    device_count = (SELECT count(*) FROM error_group_devices d WHERE d.group_id = w.id),
    first_seen_version = CASE WHEN p.first_seen_at < w.first_seen_at THEN p.first_seen_version ELSE w.first_seen_version END,
    first_seen_at = least(w.first_seen_at, p.first_seen_at), last_seen_at = greatest(w.last_seen_at, p.last_seen_at),
    severity = $3, fatal = $4, last_seen_version = $5, updated_at = now()
  FROM error_groups p WHERE p.id = $1 AND w.id = $2`;

const mergedSql = sql`UPDATE error_groups SET merged_into = $2, updated_at = now() WHERE id = $1`;

const subtractCountsSql = sql`
  UPDATE error_counts w SET occurrence_count = w.occurrence_count - p.occurrence_count
  FROM error_counts p
  WHERE p.group_id = $1 AND w.group_id = $2 AND w.day = p.day AND w.firmware_version = p.firmware_version
    AND w.device_type = p.device_type`;

const forgetCountsSql = sql`DELETE FROM error_counts WHERE group_id = $1 AND occurrence_count <= 0`;

const subtractDevicesSql = sql`
  UPDATE error_group_devices w SET occurrence_count = w.occurrence_count - p.occurrence_count
  FROM error_group_devices p WHERE p.group_id = $1 AND w.group_id = $2 AND w.device_id = p.device_id`;

const forgetDevicesSql = sql`DELETE FROM error_group_devices WHERE group_id = $1 AND occurrence_count <= 0`;

/** The times are again those of the devices that remain; the versions stay, as bounds. */
const subtractTotalsSql = sql`
  UPDATE error_groups w SET occurrence_count = greatest(0, w.occurrence_count - p.occurrence_count),
    device_count = r.device_count, first_seen_at = coalesce(r.first_seen_at, w.first_seen_at),
    last_seen_at = coalesce(r.last_seen_at, w.last_seen_at), updated_at = now()
  FROM error_groups p,
    (SELECT count(*) AS device_count, min(first_seen_at) AS first_seen_at, max(last_seen_at) AS last_seen_at
     FROM error_group_devices WHERE group_id = $2) r
  WHERE p.id = $1 AND w.id = $2`;
