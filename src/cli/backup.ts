import { objectStore } from "../assembly/object-store.ts";
import { backUp } from "../backup/backup.ts";
import { type BackupManifest, BackupReader } from "../backup/backup-folder.ts";
import { moveDatabase } from "../backup/move-database.ts";
import { restore } from "../backup/restore.ts";
import { CliError, exitCodes } from "./failure.ts";
import { countText } from "./format.ts";
import { type LocalDatabaseOptions, localConfig, withLocalDatabase } from "./local-database.ts";
import { ownVersion } from "./own-version.ts";
import type { Cli } from "./session.ts";

/** What `backup` is given. */
export type BackupOptions = LocalDatabaseOptions & {
  readonly json?: boolean;
  readonly withoutObjects?: boolean;
};

/** What `restore` is given. */
export type RestoreOptions = LocalDatabaseOptions & {
  readonly json?: boolean;
  readonly verifyOnly?: boolean;
};

/** What `move-database` is given. */
export type MoveOptions = LocalDatabaseOptions & {
  readonly json?: boolean;
  readonly to: string;
  readonly toService?: string;
};

/** Writes a backup; fails with `precondition`, and keeps it, if contents that the database names are not in the store. */
export async function backup(cli: Cli, folder: string, options: BackupOptions): Promise<void> {
  const config = localConfig(cli, options);
  await using store = options.withoutObjects === true ? undefined : await objectStore(config);
  await withLocalDatabase(cli, { ...options, besideService: true }, async ({ ownerUrl }) => {
    const serviceVersion = await ownVersion();
    const { manifest, gone } = await backUp({ ownerUrl, store, folder, serviceVersion, signal: cli.signal });
    if (options.json === true) cli.terminal.out(JSON.stringify({ ...summary(manifest), gone }));
    else cli.terminal.out(`Backed up ${summaryText(manifest)} into ${folder}, as of ${manifest.takenAt}.`);
    if (gone.length === 0) return;
    throw new CliError(
      exitCodes.precondition,
      `${countText(gone.length, "content")} that the database names, not in the store: ${gone.join(", ")}`,
      "The backup has all the rest. Unless they were deleted meanwhile, upload them again.",
    );
  });
}

/** Restores a backup, or only reads it through. */
export async function restoreBackup(cli: Cli, folder: string, options: RestoreOptions): Promise<void> {
  const reader = await BackupReader.open(folder);
  const { manifest } = reader;
  if (options.verifyOnly === true) await reader.verify(cli.signal);
  else {
    const config = localConfig(cli, options);
    await using store = await objectStore(config);
    await withLocalDatabase(cli, options, (urls) =>
      restore({ backup: reader, urls, store, signal: cli.signal }),
    );
  }
  const done = options.verifyOnly === true ? "Whole" : "Restored";
  if (options.json === true) cli.terminal.out(JSON.stringify(summary(manifest)));
  else cli.terminal.out(`${done}: ${summaryText(manifest)}, as of ${manifest.takenAt}.`);
}

/** Copies the embedded database into another one. */
export async function move(cli: Cli, options: MoveOptions): Promise<void> {
  if (localConfig(cli, options).databaseUrl !== undefined) {
    throw new CliError(
      exitCodes.usage,
      "DEVICE_OTA_DATABASE_URL is set, and what is moved is the embedded database: unset it for this command",
    );
  }
  const to = { ownerUrl: options.to, serviceUrl: options.toService ?? options.to };
  await withLocalDatabase(cli, options, async (from) => {
    const rows = await moveDatabase(from, to, cli.signal);
    if (options.json === true) return cli.terminal.out(JSON.stringify({ rows }));
    cli.terminal.out(`Copied ${countText(rows, "row")}.`);
    cli.terminal.note(
      "Set DEVICE_OTA_DATABASE_URL to the new database before the service starts again: without it, it would go on with the old one.",
    );
  });
}

interface Summary {
  readonly takenAt: string;
  readonly tables: number;
  readonly rows: number;
  readonly objects: number;
  readonly objectBytes: number;
}

function summary({ takenAt, tables, objects = [] }: BackupManifest): Summary {
  return {
    takenAt,
    tables: tables.length,
    rows: tables.reduce((sum, { rows }) => sum + rows, 0),
    objects: objects.length,
    objectBytes: objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  };
}

function summaryText(manifest: BackupManifest): string {
  const { tables, rows, objects } = summary(manifest);
  const contents = manifest.objects === undefined ? "no contents" : countText(objects, "content");
  return `${countText(rows, "row")} of ${countText(tables, "table")} and ${contents}`;
}
