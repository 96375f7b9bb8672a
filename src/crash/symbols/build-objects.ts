import type { ReadSession } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";

/** Whether a text is long enough to tell builds apart: what ESP-IDF prints of a digest at least. */
export function tellsBuild(buildId: string): boolean {
  return buildId.length >= 7;
}

/**
 * The stored objects of builds, which are named by a GNU build id, by the digest of the ELF file, or by how one of them begins;
 * of several files the newest. Builds without a file are left out.
 */
export async function objectsOf(
  session: ReadSession,
  buildIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (buildIds.length === 0) return new Map();
  const rows = await session.query<{ wanted: string; object_sha256: string }>(objectsSql, [
    JSON.stringify(buildIds),
  ]);
  return new Map(rows.map(({ wanted, object_sha256 }) => [wanted, object_sha256]));
}

const objectsSql = sql`
  SELECT DISTINCT ON (w.id) w.id AS wanted, f.object_sha256
  FROM (SELECT jsonb_array_elements_text($1::jsonb) AS id) w
  JOIN symbol_files f ON starts_with(f.build_id, w.id) OR starts_with(f.sha256, w.id)
  ORDER BY w.id, f.created_at DESC`;
