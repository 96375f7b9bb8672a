import type { DatabaseUrls } from "../infra/database/service-role.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import type { BackupReader } from "./backup-folder.ts";
import { DatabaseTarget } from "./database-target.ts";

/** What to restore into. */
export interface RestoreParts {
  readonly backup: BackupReader;
  /** Of an empty database. */
  readonly urls: DatabaseUrls;
  readonly store: ObjectStore;
  readonly signal: AbortSignal;
}

/**
 * Fills an empty database and a store from a backup, after all of it was read and found whole. Contents go first: rows never
 * name what is not there. Throws, and leaves no row, if anything is not as the backup says.
 */
export async function restore({ backup, urls, store, signal }: RestoreParts): Promise<void> {
  await backup.verify(signal);
  const { manifest } = backup;
  await using target = await DatabaseTarget.open(urls, manifest, signal);
  for (const object of manifest.objects ?? []) {
    const options = { maxBytes: object.sizeBytes, expected: object, signal };
    await store.put(backup.content(object), options);
  }
  for (const table of manifest.tables) {
    const rows = await target.takeRows(table, backup.rowsOf(table), signal);
    if (rows !== table.rows)
      throw new Error(`${table.name} would have ${rows} rows, and the backup says ${table.rows}`);
  }
  await target.commit();
}
