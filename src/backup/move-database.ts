import type { DatabaseUrls } from "../infra/database/service-role.ts";
import { DatabaseSource } from "./database-source.ts";
import { DatabaseTarget } from "./database-target.ts";

/**
 * Copies all tables into an empty database of another server, of any version that the service works with; returns how many
 * rows there were. No service may write to the source meanwhile: it would write into what is left behind.
 */
export async function moveDatabase(
  from: DatabaseUrls,
  to: DatabaseUrls,
  signal: AbortSignal,
): Promise<number> {
  await using source = await DatabaseSource.open(from.ownerUrl);
  await using target = await DatabaseTarget.open(to, source, signal);
  let rows = 0;
  for (const table of source.tables) rows += await target.takeRows(table, source.rowsOf(table), signal);
  await target.commit();
  return rows;
}
