import type { ReadSession } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";

/**
 * Which of these contents rows name. A deleted firmware's content counts as named until `deletedBefore`, and as long as a device is at
 * an update to it; one that is still to be uploaded counts from the start.
 */
export async function namedContents(
  session: ReadSession,
  sha256s: readonly string[],
  deletedBefore: Date,
): Promise<ReadonlySet<string>> {
  const rows = await session.query<{ sha256: string }>(namedSql, [sha256s, deletedBefore.toISOString()]);
  return new Set(rows.map(({ sha256 }) => sha256));
}

const namedSql = sql`
  SELECT f.sha256 FROM firmware_updates f
   WHERE f.sha256 = ANY ($1::text[]) AND (NOT f.is_deleted OR f.deleted_at > $2::timestamptz
     OR EXISTS (SELECT FROM device_updates u WHERE u.firmware_id = f.id AND u.ended_at IS NULL))
   UNION SELECT sha256 FROM firmware_attachments WHERE sha256 = ANY ($1::text[])
   UNION SELECT object_sha256 FROM crash_logs WHERE object_sha256 = ANY ($1::text[])
   UNION SELECT object_sha256 FROM symbol_files WHERE object_sha256 = ANY ($1::text[])`;
