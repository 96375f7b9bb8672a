import { type StoredErrorReport, storedError } from "../device/state/stored-error.ts";
import type { Pool } from "../infra/database/pool.ts";
import { sql } from "../infra/database/sql.ts";
import { readReport } from "./fingerprint.ts";
import { objectsOf, tellsBuild } from "./symbols/build-objects.ts";

/** A build that crashed and of which no symbol file is there. */
export interface MissingBuild {
  /** As the crash names it, or how it begins. */
  readonly buildId: string;
  /** The file name of the program or library; empty for the only program of a microcontroller. */
  readonly module: string;
  readonly groupCount: number;
  /** The group with the newest of these occurrences, and when that was received. */
  readonly groupId: string;
  readonly lastSeenAt: Date;
}

/**
 * The builds without a symbol file that the newest occurrences of the {@link lookedAt} groups seen last name in the device's own
 * code, the latest seen first. Groups whose kind of stack always has names are not looked at.
 */
export async function findMissingBuilds(pool: Pool): Promise<MissingBuild[]> {
  const rows = await pool.query<NewestRow>(newestSql, [lookedAt]);
  const found = new Map<string, MissingBuild>();
  for (const { group_id: groupId, received_at: lastSeenAt, report } of rows) {
    for (const [buildId, module] of buildsOf(report)) {
      const known = found.get(buildId);
      found.set(
        buildId,
        known === undefined
          ? { buildId, module, groupCount: 1, groupId, lastSeenAt }
          : { ...known, groupCount: known.groupCount + 1 },
      );
    }
  }
  const objects = await objectsOf(pool, [...found.keys()]);
  return [...found.values()].filter(({ buildId }) => !objects.has(buildId));
}

/** Bounds what a list costs: each is one look at the newest occurrence, and one stack that is read. */
const lookedAt = 100;

/** The builds with the modules whose addresses a stack leaves unnamed, each once. */
function buildsOf(report: StoredErrorReport): ReadonlyMap<string, string> {
  const { frames } = readReport(storedError(report)).stack;
  return new Map(
    frames.flatMap(({ inApp, address }) =>
      inApp && address !== undefined && tellsBuild(address.buildId)
        ? [[address.buildId, address.module] as const]
        : [],
    ),
  );
}

interface NewestRow {
  readonly group_id: string;
  readonly received_at: Date;
  readonly report: StoredErrorReport;
}

const newestSql = sql`
  SELECT g.id AS group_id, o.received_at, h.report
  FROM (SELECT id, last_seen_at FROM error_groups WHERE stack_kind IN ('native', 'microcontroller')
    ORDER BY last_seen_at DESC, id LIMIT $1) g
  CROSS JOIN LATERAL (
    SELECT device_id, received_at, sequence, position FROM error_occurrences
    WHERE group_id = g.id ORDER BY received_at DESC, id DESC LIMIT 1) o
  CROSS JOIN LATERAL (
    SELECT errors -> o.position::int AS report FROM device_heartbeats
    WHERE device_id = o.device_id AND received_at = o.received_at AND sequence = o.sequence LIMIT 1) h
  WHERE h.report IS NOT NULL ORDER BY o.received_at DESC, g.id`;
